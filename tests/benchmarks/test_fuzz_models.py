import os
import random
import shutil

import pytest
import spacy
from samples import build, train

from benchmarks.fuzz_models import Format, load_copy, predict
from benchmarks.model_mutations import MUTATIONS

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="loads models in forks"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def form(tmp_path_factory):
    nlp = build("bigru_ner")
    train(nlp)
    folder = tmp_path_factory.mktemp("fuzz") / "model"
    nlp.to_disk(folder)
    return Format(folder, spacy.load, lambda path: path.parts[0] == "bigru_ner")


def fail(path):
    raise KeyError("x")


def test_outcomes_are_told_apart(form):
    expected = predict(spacy.load(form.folder))
    assert any(expected)
    assert load_copy(form, form.folder, expected).kind == "same"
    assert load_copy(form, form.folder, []).kind == "silent"
    failing = Format(form.folder, fail, form.owned)
    outcome = load_copy(failing, form.folder, expected)
    assert (outcome.kind, outcome.detail) == ("raw", "KeyError: 'x'")
    ending = Format(form.folder, lambda path: os._exit(1), form.owned)
    assert load_copy(ending, form.folder, expected).kind == "died"


@pytest.mark.parametrize("kind", sorted(MUTATIONS))
def test_each_kind_of_mutation_is_an_error_or_has_no_effect(form, kind, tmp_path):
    expected = predict(spacy.load(form.folder))
    kinds = []
    for seed in range(8):
        copied = tmp_path / str(seed)
        shutil.copytree(form.folder, copied)
        rng = random.Random(seed)
        if MUTATIONS[kind](rng, copied, form.files(copied, ours=True)) is not None:
            kinds.append(load_copy(form, copied, expected).kind)
    assert kinds
    assert set(kinds) <= {"error", "same"}
    assert "error" in kinds or kind == "files"
