"""The configs in `configs/`: complete, filled, and about the same two variables."""

from pathlib import Path

import pytest
from samples import ROOT
from spacy import util
from spacy.cli.train import train
from spacy.training import Example
from thinc.api import Config

CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))


def load(path: Path) -> Config:
    return util.load_config(path, interpolate=False)


def test_all_configs_are_there() -> None:
    assert [path.stem for path in CONFIGS] == [
        "conll2003",
        "conll2003_max",
        "conll2003_multitask",
        "conll2003_transformer",
        "nested",
        "sample",
        "spancat",
        "wnut17",
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_filling_a_config_changes_nothing(path: Path) -> None:
    config = load(path)
    nlp = util.load_model_from_config(config, auto_fill=True)
    assert nlp.config == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_data_and_vectors_are_the_only_paths(path: Path) -> None:
    config = load(path)
    assert config["initialize"]["vectors"] == "${paths.vectors}"
    assert config["corpora"]["train"]["path"] == "${paths.data}"
    assert config["corpora"]["dev"]["path"] == "${paths.data}"
    assert config["corpora"]["dev"]["split"] == "validation"
    assert config["paths"]["vectors"] is None


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_learn_rate_ends_with_the_training(path: Path) -> None:
    training = load(path)["training"]
    assert training["optimizer"]["learn_rate"]["total_steps"] == training["max_steps"]
    assert training["max_steps"] % training["eval_frequency"] == 0


def test_a_wrong_type_in_a_config_names_the_setting() -> None:
    config = util.load_config(
        ROOT / "configs" / "sample.cfg", overrides={"components.ner.model.hidden": "wide"}
    )
    with pytest.raises(ValueError, match="hidden"):
        util.load_model_from_config(config)


def test_a_config_without_an_embedding_does_not_get_it_back() -> None:
    config = load(CONFIGS[0])
    del config["components"]["ner"]["model"]["embed"]["characters"]
    nlp = util.load_model_from_config(config, auto_fill=True)
    assert "characters" not in nlp.config["components"]["ner"]["model"]["embed"]


def test_an_embedding_is_left_out_by_an_override() -> None:
    overrides = {"components.ner.model.embed.characters": None, "paths.clusters": None}
    config = util.load_config(CONFIGS[0], overrides=overrides)
    nlp = util.load_model_from_config(config, auto_fill=True)
    example = Example.from_dict(nlp.make_doc("Acme"), {"entities": []})
    nlp.get_pipe("ner").initialize(lambda: [example], nlp=nlp, labels=["PER"])
    network = nlp.get_pipe("ner").model.shims[0].network
    assert list(network.embed) == ["words", "vectors"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"paths.clusters": "nowhere"}, "no word clusters: there is no file 'nowhere'"),
        ({"nlp.lang": "fr"}, "no word clusters: there is no file 'lexeme_cluster'"),
        ({"paths.train": "broken.conll"}, "broken.conll:3: 1 column instead of 2"),
    ],
)
def test_training_ends_with_one_line_without_a_traceback(
    overrides: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.conll").write_text("Oslo B-LOC\nfell O\n", encoding="utf8")
    Path("broken.conll").write_text("Oslo B-LOC\nfell O\nagain\n", encoding="utf8")
    data = {"paths.train": "data.conll", "paths.dev": "data.conll"}
    config = next(path for path in CONFIGS if path.stem == "sample")
    with pytest.raises(SystemExit) as stopped:
        train(config, overrides=data | overrides)
    assert stopped.value.code == 1
    title, line = capsys.readouterr().out.splitlines()[-2:]
    assert "Invalid input" in title
    assert line.startswith(message)
