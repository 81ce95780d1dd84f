import pytest
from samples import NARROW, TASKS, build, train
from spacy.lang.en import English
from thinc.api import fix_random_seed

# Contractions and abbreviations, 1,347 special cases. To add them to a tokenizer is most of what
# `spacy.blank("en")` takes, and hundreds of tests call it. New processes have them all the same.
English.Defaults.tokenizer_exceptions = {}


@pytest.fixture(autouse=True)
def seeded():
    fix_random_seed(0)


@pytest.fixture(scope="session", params=TASKS, ids=lambda task: task.factory)
def task(request):
    return request.param


@pytest.fixture(scope="session")
def trained(task):
    """A pipeline of one trained component: tests must leave it as it is."""
    nlp = build(task.factory, model=NARROW)
    assert train(nlp)[task.factory] < 0.02
    return nlp


@pytest.fixture(scope="session")
def ner():
    """A trained recogniser: tests must leave it as it is."""
    nlp = build("bigru_ner")
    assert train(nlp)["bigru_ner"] < 0.02
    return nlp
