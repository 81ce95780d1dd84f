import pytest
from samples import build, train


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a pipeline that finds the entities, tags and chunks of `SENTENCES`."""
    nlp = build("bigru_ner", "bigru_tagger", "bigru_chunker")
    train(nlp)
    path = tmp_path_factory.mktemp("annotation") / "model"
    nlp.to_disk(path)
    return path
