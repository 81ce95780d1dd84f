import functools
import re
import subprocess
from multiprocessing.process import BaseProcess

import pytest
from catalogue import Registry
from hypothesis import settings
from samples import NARROW, ROOT, TASKS, build, train
from spacy.lang.en import English
from spacy.language import Language
from thinc.api import fix_random_seed

# 1,347 contractions and abbreviations. To add them to a tokenizer is most of what
# `spacy.blank("en")` takes, and hundreds of tests call it, so that they get three of them. New
# processes have all.
English.Defaults.tokenizer_exceptions = {
    word: English.Defaults.tokenizer_exceptions[word] for word in ("don't", "isn't", "Mr.")
}

# Each look-up in a registry searches the entry points of all installed packages, which catalogue
# reads once, at its import. Without this, the search takes half of the time to build a pipeline.
Registry._get_entry_points = functools.cache(Registry._get_entry_points)

# Each run draws other examples, so that many runs try many.
settings.register_profile("tests", max_examples=50)
settings.load_profile("tests")

# What modules import that --fast leaves out: to import transformers takes longer than PyTorch.
_TRANSFORMERS = re.compile(
    r"^(import|from) (transformers|tiny_transformer|bigru_tagger\.huggingface)\b", re.MULTILINE
)


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="only tests for the inner loop")


def pytest_configure(config):
    if config.getoption("--fast"):
        # Hypothesis gives its tests this marker.
        config.option.markexpr = "not slow and not hypothesis"


def pytest_collection_modifyitems(items):
    # The slowest module first, so that no worker is left with it at the end.
    items.sort(key=lambda item: item.path.name != "test_process.py")


def pytest_ignore_collect(collection_path, config):
    if not config.getoption("--fast"):
        return None
    imports_it = collection_path.suffix == ".py" and _TRANSFORMERS.search(
        collection_path.read_text(encoding="utf8")
    )
    return True if imports_it or collection_path == ROOT / "tests" / "benchmarks" else None


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
