import subprocess
from multiprocessing.process import BaseProcess

import pytest
from samples import NARROW, TASKS, build, train
from spacy.lang.en import English
from spacy.language import Language
from thinc.api import fix_random_seed

# Contractions and abbreviations, 1,347 special cases. To add them to a tokenizer is most of what
# `spacy.blank("en")` takes, and hundreds of tests call it. New processes have them all the same.
English.Defaults.tokenizer_exceptions = {}


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="skip tests that train or start a process")


@pytest.fixture(scope="session", autouse=True)
def only_fast(request):
    """With --fast, end a test as skipped at its first step of training or new process.

    What a test does decides, not where it stands or how long it took on some machine, so that new
    tests need no mark. A fixture that trains skips all tests that use it.
    """

    def skip(*_, **__):
        pytest.skip("--fast: it trains or starts a process")

    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--fast"):
            patch.setattr(Language, "update", skip)
            patch.setattr(BaseProcess, "start", skip)
            patch.setattr(subprocess.Popen, "__init__", skip)
        yield


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
