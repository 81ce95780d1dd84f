"""Tests of a task that is defined outside of the package, the example of the documentation."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import spacy
from samples import TINY, train
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from thinc.api import fix_random_seed
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.huggingface.model_card import model_card
from bigru_tagger.report.corpus_check import check_corpus
from bigru_tagger.report.system_comparison import Overlap, compare_systems
from bigru_tagger.scoring.run import evaluate
from bigru_tagger.tasks import TASKS

SENTENCES = [
    (["Ships", "leave", "Oslo"], ["Number=Plur", "Number=Plur", "Number=Sing"]),
    (["Ada", "wrote", "letters"], ["Number=Sing", "Tense=Past", "Number=Plur"]),
    (["Ada", "left"], ["Number=Sing", "Tense=Past"]),
]


@pytest.fixture(scope="module")
def task():
    """The task of the example, registered while these tests run."""
    path = Path(__file__).parent / "examples" / "own_task.py"
    spec = spec_from_file_location("own_task", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.FEATURES
    del TASKS["features"]


def gold_examples(vocab, sentences=SENTENCES):
    docs = [Doc(vocab, words=words, morphs=morphs) for words, morphs in sentences]
    return [Example(Doc(vocab, words=[token.text for token in doc]), doc) for doc in docs]


@pytest.fixture(scope="module")
def nlp(task):
    fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory, config={"model": TINY})
    examples = gold_examples(nlp.vocab)
    nlp.initialize(lambda: examples)
    train(nlp, examples=examples)
    return nlp


@pytest.fixture
def other_gold(nlp):
    """Gold data in which "leave" has a label that the pipeline was not trained on."""
    (words, morphs), *others = SENTENCES
    return gold_examples(nlp.vocab, [(words, [morphs[0], "Tense=Pres", morphs[2]]), *others])


def test_the_component_learns_the_annotation_of_the_task(nlp):
    doc = nlp(Doc(nlp.vocab, words=["Ships", "leave", "Oslo"]))
    assert [str(token.morph) for token in doc] == SENTENCES[0][1]
    scores = nlp.evaluate(gold_examples(nlp.vocab))
    assert scores["morph_acc"] == 1.0


def test_the_component_is_saved_and_loaded(nlp, tmp_path):
    nlp.to_disk(tmp_path)
    doc = spacy.load(tmp_path)(Doc(nlp.vocab, words=["Ada", "left"]))
    assert [str(token.morph) for token in doc] == SENTENCES[2][1]


def test_scores_of_the_task(nlp, other_gold):
    found = evaluate(nlp, other_gold)
    assert list(found.scores) == ["features"]
    # Seven of eight tokens are correct.
    assert found.scores["features"].accuracy == pytest.approx(7 / 8)
    counts = found.scores["features"].default
    assert (counts["Tense=Pres"].gold, counts["Tense=Pres"].correct) == (1, 0)
    assert (counts["Number=Plur"].gold, counts["Number=Plur"].predicted) == (2, 3)


def test_comparison_includes_the_task(nlp, other_gold):
    ours, theirs = evaluate(nlp, other_gold), evaluate(nlp, other_gold)
    found = compare_systems(ours, theirs, n_resamples=20, n_trials=20).tasks["features"]
    assert found.gold == Overlap(both=7, only_a=0, only_b=0, neither=1)


def test_the_corpus_check_counts_the_task(nlp, other_gold):
    counts = check_corpus({"train": other_gold}).splits["train"].layers["features"]
    assert counts.labels == {"Number=Plur": 2, "Number=Sing": 3, "Tense=Past": 2, "Tense=Pres": 1}


def test_reports_and_json_include_the_task(nlp, other_gold, tmp_path):
    nlp.to_disk(tmp_path / "model")
    gold = tmp_path / "gold.spacy"
    DocBin(attrs=["MORPH"], docs=[eg.reference for eg in other_gold]).to_disk(gold)
    page, text, numbers = (tmp_path / f"out.{ending}" for ending in ("html", "md", "json"))
    options = ["--report", page, "--report", text, "--json", numbers]
    result = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "model"), str(gold), *map(str, options)]
    )
    assert result.exit_code == 0, result.output
    assert "feature accuracy  0.8750" in result.output
    assert "Features, token by token" in result.output
    content = json.loads(numbers.read_text(encoding="utf8"))
    assert content["features"]["default"]["micro"]["correct"] == 7
    assert content["morph_accuracy"] == pytest.approx(7 / 8)
    assert content["tags"] is None
    assert content["analysis"]["features"]["token_accuracy"]["correct"] == 7
    assert "<dt>feature accuracy</dt><dd>87.50" in page.read_text(encoding="utf8")
    assert "### Tense=Pres predicted as Number=Plur: 1" in text.read_text(encoding="utf8")


def test_the_model_card_describes_the_task(nlp):
    meta = {"lang": "en", "name": "own", "performance": {"morph_acc": 0.875}}
    card = model_card(nlp.config.interpolate(), meta, nlp.pipe_labels["bigru_morphologizer"])
    assert "A bidirectional GRU that predicts morphological features" in card
    assert "accuracy 87.50" in card
