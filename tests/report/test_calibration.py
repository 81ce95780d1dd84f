import json

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SENTENCES, TINY, annotate, build, load_script, train
from spacy.tokens import Doc
from spacy.training import Example
from typer.testing import CliRunner

from bigru_tagger.report.calibration import (
    Calibrator,
    Judged,
    expected_calibration_error,
    reliability,
)


def judged(*pairs):
    probability, correct = zip(*pairs, strict=True)
    return Judged(np.array(probability), np.array(correct, dtype=bool))


def test_calibration_error_by_hand():
    spans = judged((0.12, 0), (0.18, 1), (0.9, 1), (0.95, 1), (1.0, 0))
    first, last = reliability(spans, n_bins=10)
    assert (first.count, last.count) == (2, 3)
    assert (first.probability, first.precision) == pytest.approx((0.15, 0.5))
    assert (last.probability, last.precision) == pytest.approx((0.95, 2 / 3))
    expected = (2 * (0.5 - 0.15) + 3 * (0.95 - 2 / 3)) / 5
    assert expected_calibration_error(spans, n_bins=10) == pytest.approx(expected)


@given(
    pairs=st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1),
    n_bins=st.integers(1, 20),
)
def test_bins_hold_every_span_once(pairs, n_bins):
    bins = reliability(judged(*pairs), n_bins)
    assert sum(b.count for b in bins) == len(pairs)
    assert sum(b.count * b.precision for b in bins) == pytest.approx(sum(c for _, c in pairs))
    means = [b.probability for b in bins]
    assert means == sorted(means)
    assert 0.0 <= expected_calibration_error(judged(*pairs), n_bins) <= 1.0


def test_without_spans_there_is_no_error_to_tell():
    with pytest.raises(ValueError, match="no spans were found"):
        expected_calibration_error(Judged(np.zeros(0), np.zeros(0, dtype=bool)))


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
    """Let every token be a PER at these odds against O, and nothing else."""
    scores = np.full((1, len(pipe.tags)), -np.inf, dtype=np.float32)
    scores[0, 0], scores[0, pipe.tags.index("U-PER")] = 0.0, np.log(odds)
    monkeypatch.setattr(pipe, "logits", lambda docs: [scores.copy() for _ in docs])


@settings(max_examples=10, deadline=None)
@given(n_right=st.integers(6, 9), odds=st.floats(2.0, 1000.0))
def test_the_temperature_makes_the_probability_the_share_that_is_right(nlp, n_right, odds):
    pipe = nlp.get_pipe("bigru_ner")
    with pytest.MonkeyPatch.context() as patch:
        force(patch, pipe, odds)
        calibrator = Calibrator(nlp, "bigru_ner", make_examples(nlp, n_right, 10 - n_right))
        before = calibrator.judge(1.0)
        assert before.probability == pytest.approx(odds / (1 + odds))
        assert before.correct.tolist() == [True] * n_right + [False] * (10 - n_right)
        # odds ** (1 / temperature) = right to wrong
        expected = np.log(odds) / np.log(n_right / (10 - n_right))
        temperature = calibrator.fit()
        assert temperature == pytest.approx(expected, rel=0.01)
        after = calibrator.judge(temperature)
    assert expected_calibration_error(after) == pytest.approx(0.0, abs=0.005)
    assert pipe.temperature == 1.0


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (4, 0), (0, 4)])
def test_there_have_to_be_right_spans_and_wrong_ones(nlp, monkeypatch, right, wrong):
    force(monkeypatch, nlp.get_pipe("bigru_ner"), 3.0)
    calibrator = Calibrator(nlp, "bigru_ner", make_examples(nlp, right, wrong))
    message = f"of {right + wrong} spans that were found, {right} are right"
    with pytest.raises(ValueError, match=message):
        calibrator.fit()


def test_spans_on_tokens_without_gold_do_not_count(nlp, monkeypatch):
    force(monkeypatch, nlp.get_pipe("bigru_ner"), 3.0)
    gold = annotate(Doc(nlp.vocab, words=["Ada"]), missing=[0])
    examples = [*make_examples(nlp, 1, 1), Example(gold.copy(), gold)]
    assert Calibrator(nlp, "bigru_ner", examples).judge(1.0).correct.tolist() == [True, False]


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


def test_a_component_that_finds_no_spans_is_an_error(nlp):
    with pytest.raises(ValueError, match=r"no component 'ner' .*; it has bigru_ner"):
        Calibrator(nlp, "ner", [])


# --- the script


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Column files that a pipeline trained on `SENTENCES` reads partly wrong."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for text, ents, *_ in SENTENCES:
        words = text.split()
        tags = ["O"] * len(words)
        for start, end, label in ents:
            tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
        lines += [f"{word} {tag}" for word, tag in zip(words, tags, strict=True)] + [""]
    lines += ["Ada O", "Lovelace O", ""]
    for split in ("validation", "test"):
        (folder / f"{split}.conll").write_text("\n".join(lines), encoding="utf8")
    return folder


@pytest.fixture
def model(tmp_path):
    pipeline = build("bigru_ner", model=TINY)
    train(pipeline)
    pipeline.to_disk(tmp_path / "model")
    return tmp_path / "model"


def run(*arguments):
    app = load_script("calibrate")
    typer_app = app.typer.Typer(pretty_exceptions_enable=False)
    typer_app.command()(app.main)
    return CliRunner().invoke(typer_app, [str(argument) for argument in arguments])


def test_script_stores_the_temperature_in_the_model(model, data):
    before = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    result = run(model, data, "--component", "bigru_ner", "--report", "test")
    assert result.exit_code == 0, result.output
    temperature = json.loads((model / "bigru_ner" / "cfg").read_text())["temperature"]
    assert f"Temperature of bigru_ner: {temperature:.3f} (was 1.000)" in result.output
    assert [line.split()[0] for line in result.output.splitlines()[3:5]] == ["validation", "test"]
    # spaCy's parser of JSON may differ from Python's in the last bit.
    assert temperature != 1.0
    loaded = spacy.load(model).get_pipe("bigru_ner").temperature
    assert loaded == pytest.approx(temperature, rel=1e-12)
    after = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    assert {file.name for file in before if before[file] != after[file]} == {"cfg"}
    assert before.keys() == after.keys()


def test_script_writes_another_pipeline(model, data, tmp_path):
    before = (model / "bigru_ner" / "cfg").read_bytes()
    arguments = (model, data, "--component", "bigru_ner", "--output", tmp_path / "new")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert spacy.load(tmp_path / "new").get_pipe("bigru_ner").temperature != 1.0
    assert (model / "bigru_ner" / "cfg").read_bytes() == before
    result = run(*arguments)
    assert result.exit_code == 1
    assert "is there already; it is left as it is" in result.output


def test_script_says_what_is_wrong(model, data):
    result = run(model, data)
    assert result.exit_code == 1
    assert "Name the component by --component" in result.output
