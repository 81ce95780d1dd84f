"""Tests of the search for `recall_bias` and `threshold`."""

import numpy as np
import pytest
from samples import annotate, build
from spacy.tokens import Doc
from spacy.training import Example

from bigru_tagger.tuning.tuner import BIASES, Tuned, Tuner


@pytest.fixture
def nlp():
    return build("bigru_ner")


def make_tuner(nlp, monkeypatch, docs):
    """Docs of one token. docs: the gold label or "", and logits by label; O has a logit of 0."""
    pipe = nlp.get_pipe("bigru_ner")
    examples, logits = [], []
    for gold, values in docs:
        doc = annotate(Doc(nlp.vocab, words=["Ada"]), [(0, 1, gold)] if gold else [])
        examples.append(Example(Doc(nlp.vocab, words=["Ada"]), doc))
        row = np.full((1, len(pipe.tags)), -20.0, dtype=np.float32)
        row[0, 0] = 0.0
        for label, value in values.items():
            row[0, pipe.tags.index(f"U-{label}")] = value
        logits.append(row)
    monkeypatch.setattr(pipe, "logits", lambda batch: [logits.pop(0) for _ in batch])
    return Tuner(nlp, "bigru_ner", examples)


def test_one_bias_for_all_labels(nlp, monkeypatch):
    docs = [("PER", {"PER": -0.9})] * 6 + [("", {"PER": -3.2})] * 4
    tuner = make_tuner(nlp, monkeypatch, docs)
    tuned = tuner.search()
    # 1 is the smallest bias of the grid above 0.9; the search goes on with each of three labels.
    assert tuned == Tuned(recall_bias=1.0, threshold=0.0, trials=13 + 3 * 12)
    change = tuner.compare(tuned.settings)
    assert (change.before.f1, change.after.f1, change.difference) == (0.0, 1.0, 1.0)
    assert change.interval == (1.0, 1.0)


@pytest.mark.parametrize(
    ("n_found", "n_missed", "bias"),
    [
        # All of the missed ones with a bias of 1. Every sample of 124 has some of them.
        (60, 60, 1.0),
        # A third of the samples of 124 have none of them, so the interval begins at 0.
        (119, 1, None),
        (40, 40, None),  # too few spans for an interval
    ],
)
def test_the_bias_only_changes_if_f1_rises_by_more_than_chance(
    nlp, monkeypatch, n_found, n_missed, bias
):
    docs = [("PER", {"PER": 3.0})] * n_found + [("PER", {"PER": -0.9})] * n_missed
    docs += [("", {"PER": -3.2})] * 4
    assert make_tuner(nlp, monkeypatch, docs).balance() == bias


def test_a_bias_for_each_label(nlp, monkeypatch):
    docs = [("PER", {"PER": -0.9})] * 6 + [("LOC", {"LOC": 1.6})] * 3 + [("", {"LOC": 0.4})] * 4
    tuner = make_tuner(nlp, monkeypatch, docs)
    tuned = tuner.search()
    # All labels by 1: 9 of 9 gold spans and 4 others. Then LOC falls until 0.4 is below O.
    assert tuned.recall_bias == {"LOC": -0.5, "ORG": 1.0, "PER": 1.0}
    assert tuned.threshold == 0.0
    change = tuner.compare(tuned.settings)
    assert change.before.f1 == pytest.approx(2 * 3 / (9 + 7))
    assert change.after.f1 == 1.0
    low, high = change.interval
    assert 0.0 < low < change.difference < high <= 1.0


def test_the_threshold_follows_from_the_probabilities(nlp, monkeypatch):
    # O has a weight of 1, ORG 2, and PER 17 or 5: probabilities of 17/20 and 5/8.
    docs = [("PER", {"PER": np.log(17), "ORG": np.log(2)})] * 5
    docs += [("", {"PER": np.log(5), "ORG": np.log(2)})] * 5
    tuner = make_tuner(nlp, monkeypatch, docs)
    monkeypatch.setattr("bigru_tagger.tuning.tuner.BIASES", (0.0,))
    tuned = tuner.search()
    assert tuned == Tuned(recall_bias=0.0, threshold=0.65, trials=1)
    change = tuner.compare(tuned.settings)
    assert (change.before.f1, change.after.f1) == (pytest.approx(2 / 3), 1.0)


def test_settings_that_cannot_be_improved_stay(nlp, monkeypatch):
    docs = [("PER", {"PER": 5.0})] * 2 + [("", {})]
    tuner = make_tuner(nlp, monkeypatch, docs)
    cfg = tuner.pipe.cfg
    cfg.update(recall_bias={"LOC": 0.3}, threshold=0.37)
    before = dict(cfg)
    tuned = tuner.search()
    assert (tuned.recall_bias, tuned.threshold) == ({"LOC": 0.3}, 0.37)
    assert cfg == before
    assert tuner.compare(tuned.settings).difference == 0.0


def test_progress_is_reported_for_each_trial(nlp, monkeypatch):
    tuner = make_tuner(nlp, monkeypatch, [("PER", {"PER": -0.9})])
    seen = []
    tuned = tuner.search(lambda: seen.append(1))
    assert len(seen) == tuned.trials > len(BIASES)


def test_data_without_gold_spans_are_an_error(nlp, monkeypatch):
    tuner = make_tuner(nlp, monkeypatch, [("", {"PER": 3.0})])
    with pytest.raises(ValueError, match="bigru_ner: the data have no gold spans"):
        tuner.search()


def test_documents_are_resampled(nlp, monkeypatch):
    docs = [("PER", {"PER": -0.9}), ("", {"PER": -0.9}), ("PER", {"PER": 3.0})]
    tuner = make_tuner(nlp, monkeypatch, docs)
    settings = {"recall_bias": 1.0, "threshold": 0.0}
    assert tuner.compare(settings, [3]).interval is None
    assert tuner.compare(settings, [2, 1]).interval is not None
