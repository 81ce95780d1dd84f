import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import annotate, build
from spacy.tokens import Doc
from spacy.training import Example

from bigru_tagger.errors import ConfigError
from bigru_tagger.report.calibration import expected_calibration_error
from bigru_tagger.tuning.calibrator import Calibrator
from bigru_tagger.tuning.settings_trial import find_span_tagger


@pytest.fixture(scope="module")
def nlp():
    return build("bigru_ner")


def make_examples(nlp, n_right, n_wrong):
    gold = [Doc(nlp.vocab, words=["Ada"]) for _ in range(n_right + n_wrong)]
    for doc in gold[:n_right]:
        annotate(doc, [(0, 1, "PER")])
    for doc in gold[n_right:]:
        annotate(doc)
    return [Example(doc.copy(), doc) for doc in gold]


def force(monkeypatch, pipe, odds):
    """Predict a PER at every token, with these odds against O."""
    scores = np.full((1, len(pipe.tags)), -np.inf, dtype=np.float32)
    scores[0, 0], scores[0, pipe.tags.index("U-PER")] = 0.0, np.log(odds)
    monkeypatch.setattr(pipe, "logits", lambda docs: [scores.copy() for _ in docs])


@settings(max_examples=10, deadline=None)
@given(n_right=st.integers(6, 9), odds=st.floats(2.0, 1000.0))
def test_fitted_probability_is_the_share_of_correct_spans(nlp, n_right, odds):
    pipe = nlp.get_pipe("bigru_ner")
    with pytest.MonkeyPatch.context() as patch:
        force(patch, pipe, odds)
        calibrator = Calibrator(nlp, "bigru_ner", make_examples(nlp, n_right, 10 - n_right))
        before = calibrator.outcomes(1.0)
        assert before.probability == pytest.approx(odds / (1 + odds))
        assert before.correct.tolist() == [True] * n_right + [False] * (10 - n_right)
        # odds ** (1 / temperature) = correct / wrong
        expected = np.log(odds) / np.log(n_right / (10 - n_right))
        temperature = calibrator.fit()
        assert temperature == pytest.approx(expected, rel=0.01)
        after = calibrator.outcomes(temperature)
    assert expected_calibration_error(after) == pytest.approx(0.0, abs=0.005)
    assert pipe.temperature == 1.0


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (4, 0), (0, 4)])
def test_calibration_needs_correct_and_wrong_spans(nlp, monkeypatch, right, wrong):
    force(monkeypatch, nlp.get_pipe("bigru_ner"), 3.0)
    calibrator = Calibrator(nlp, "bigru_ner", make_examples(nlp, right, wrong))
    message = f": {right} of the {right + wrong} spans that were found are correct"
    with pytest.raises(ValueError, match=message):
        calibrator.fit()


def test_spans_on_tokens_without_gold_do_not_count(nlp, monkeypatch):
    force(monkeypatch, nlp.get_pipe("bigru_ner"), 3.0)
    gold = annotate(Doc(nlp.vocab, words=["Ada"]), missing=[0])
    examples = [*make_examples(nlp, 1, 1), Example(gold.copy(), gold)]
    assert Calibrator(nlp, "bigru_ner", examples).outcomes(1.0).correct.tolist() == [True, False]


def test_gold_does_not_reach_the_pipeline(nlp, monkeypatch):
    seen = []
    pipe = nlp.get_pipe("bigru_ner")
    monkeypatch.setattr(
        pipe,
        "logits",
        lambda docs: seen.extend(docs) or [np.zeros((len(doc), len(pipe.tags))) for doc in docs],
    )
    Calibrator(nlp, "bigru_ner", make_examples(nlp, 2, 0))
    assert len(seen) == 2
    assert not any(doc.has_annotation("ENT_IOB") for doc in seen)


def test_a_component_is_found_without_its_name():
    nlp = spacy.blank("en")
    with pytest.raises(ConfigError, match=r"no component 'ner' .* it has none: set --component"):
        find_span_tagger(nlp, None)
    only = nlp.add_pipe("bigru_chunker")
    nlp.add_pipe("bigru_tagger")
    assert find_span_tagger(nlp, None) == ("bigru_chunker", only)
    ner = nlp.add_pipe("bigru_ner", name="ner")
    assert find_span_tagger(nlp, None) == ("ner", ner)
    assert find_span_tagger(nlp, "bigru_chunker") == ("bigru_chunker", only)
    nlp.rename_pipe("ner", "entities")
    with pytest.raises(ConfigError, match=r"no component 'ner' .* it has bigru_chunker, entities:"):
        find_span_tagger(nlp, None)


def test_a_component_that_finds_no_spans_is_an_error(nlp):
    with pytest.raises(ValueError, match=r"no component 'ner' .*; it has bigru_ner"):
        Calibrator(nlp, "ner", [])
