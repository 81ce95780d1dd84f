from io import StringIO

import numpy as np
import pytest
import spacy
from samples import NARROW, TEXTS, annotate, build, read_examples, set_logits, train
from spacy.cli.init_config import fill_config
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_pipeline
from thinc.api import Config

from bigru_tagger.scoring.scoring import make_seqeval_scorer

WORDS = ["Ada", "Lovelace", "saw", "New", "York", "."]
CHUNKS = [(0, 2, "NP"), (2, 3, "VP"), (3, 5, "NP")]


@pytest.fixture(scope="module")
def chunker():
    nlp = build("bigru_chunker")
    assert train(nlp)["bigru_chunker"] < 0.02
    return nlp


@pytest.fixture
def pipe(chunker):
    return chunker.get_pipe("bigru_chunker")


def chunks(doc, key="chunks"):
    return [(span.start, span.end, span.label_) for span in doc.spans[key]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (WORDS, ["B-NP", "L-NP", "U-VP", "B-NP", "L-NP", "O"]),
        (
            ["Ada", "Love", "lace", "saw", "NewYork", "."],
            ["B-NP", "I-NP", "L-NP", "U-VP", "U-NP", "O"],
        ),
        (["Ada", "Lovelacesaw", "New", "York."], [None, None, None, None]),
        (
            ["Ada", "Lovelace", "s", "aw", "New", "York."],
            ["B-NP", "L-NP", "B-VP", "L-VP", None, None],
        ),
    ],
)
def test_gold_is_aligned_with_the_predicted_tokens(pipe, words, expected):
    gold = annotate(Doc(pipe.vocab, words=WORDS), chunks=CHUNKS)
    assert pipe.gold_tags(Example(Doc(pipe.vocab, words=words), gold)) == expected


def test_gold_can_differ_in_white_space(pipe):
    spaced = Doc(pipe.vocab, words=WORDS, spaces=[True, False, True, True, True, False])
    gold = annotate(Doc(pipe.vocab, words=WORDS, spaces=[False] * 6), chunks=CHUNKS)
    expected = ["B-NP", "L-NP", "U-VP", "B-NP", "L-NP", "O"]
    assert pipe.gold_tags(Example(spaced, gold)) == expected
    between = Doc(pipe.vocab, words=["Ada", "Lovelace", "\n", "saw", "New", "York", "."])
    assert pipe.gold_tags(Example(between, gold)) == [*expected[:2], "O", *expected[2:]]


@pytest.mark.parametrize(
    ("annotated", "expected"), [({}, [None] * 6), ({"chunks": []}, ["O"] * 6)], ids=["no", "empty"]
)
def test_no_span_group_is_missing_annotation_and_an_empty_group_is_outside(
    pipe, annotated, expected
):
    gold = annotate(Doc(pipe.vocab, words=WORDS), **annotated)
    assert pipe.gold_tags(Example(Doc(pipe.vocab, words=WORDS), gold)) == expected


@pytest.mark.parametrize("overlap", [(1, 3, "NP"), (0, 2, "NP"), (0, 6, "VP"), (4, 5, "PP")])
@pytest.mark.parametrize("words", [WORDS, ["AdaLovelace", *WORDS[2:]]], ids=["same", "other"])
def test_overlapping_gold_spans_raise(chunker, words, overlap):
    gold = annotate(Doc(chunker.vocab, words=WORDS), chunks=[*CHUNKS, overlap])
    example = Example(Doc(chunker.vocab, words=words), gold)
    with pytest.raises(ValueError, match=r"doc\.spans\['chunks'\] of 'Ada Lovelace saw.*overlap"):
        chunker.update([example])


def test_scores_of_the_group_are_probabilities(chunker):
    doc = chunker(TEXTS[0])
    group = doc.spans["chunks"]
    assert group.name == "chunks"
    assert len(group.attrs["scores"]) == len(group) == 6
    assert all(0.9 < score <= 1.0 for score in group.attrs["scores"])
    stored = Doc(chunker.vocab).from_bytes(doc.to_bytes()).spans["chunks"]
    assert stored.attrs["scores"] == pytest.approx(group.attrs["scores"])


def test_a_second_run_predicts_the_same_and_keeps_other_groups_and_entities(chunker):
    doc = annotate(Doc(chunker.vocab, words=TEXTS[0].split()), [(0, 2, "PER")], [(0, 8, "XX")])
    doc.spans["mine"] = [Span(doc, 0, 3, label="MINE")]
    first = chunks(chunker(doc))
    assert first == chunks(read_examples(chunker.vocab)[0].reference)
    assert chunks(chunker(doc)) == first
    assert chunks(doc, "mine") == [(0, 3, "MINE")]
    assert [ent.text for ent in doc.ents] == ["Ada Lovelace"]


def test_no_span_starts_or_ends_with_white_space(monkeypatch, pipe):
    doc = Doc(pipe.vocab, words=["\n", "Ada", " ", "wrote", "\t"])
    scores = np.zeros((5, len(pipe.tags)), dtype=np.float32)
    scores[:, 0] = -20.0
    set_logits(monkeypatch, pipe, scores)
    found = chunks(pipe(doc))
    assert found
    assert all(not doc[start].is_space and not doc[end - 1].is_space for start, end, _ in found)


SCORE_NAMES = ("f", "p", "r", "per_type")


def rekeyed(vocab, key):
    """Examples with chunks under another key and not under "chunks"."""
    examples = read_examples(vocab)
    for example in examples:
        reference = example.reference
        reference.spans[key] = [
            Span(reference, start, end, label=label) for start, end, label in chunks(reference)
        ]
        del reference.spans["chunks"]
    return examples


def test_the_scorer_uses_the_components_key():
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("bigru_chunker", config={"spans_key": "phrases", "model": NARROW})
    examples = rekeyed(nlp.vocab, "phrases")
    nlp.initialize(lambda: examples)
    assert pipe.labels == ("ADVP", "NP", "PP", "VP")
    train(nlp, examples=examples)
    assert list(nlp(Doc(nlp.vocab, words=WORDS)).spans) == ["phrases"]
    scores = nlp.evaluate(examples)
    # There are no scores for other keys.
    assert {name: scores[f"spans_phrases_{name}"] for name in "prf"} == {"p": 1, "r": 1, "f": 1}
    assert set(scores["spans_phrases_per_type"]) == {"ADVP", "NP", "PP", "VP"}
    assert not any(name.startswith("spans_chunks") for name in scores)


def test_the_components_key_overrides_the_scorers_key():
    scorer = make_seqeval_scorer("spans", "chunks")
    doc = Doc(spacy.blank("en").vocab, words=WORDS)
    doc.spans["np"] = [Span(doc, 0, 2, label="NP")]
    assert scorer([Example(doc, doc)], spans_key="np")["spans_np_f"] == 1.0
    assert scorer([Example(doc, doc)]) == {f"spans_chunks_{name}": None for name in SCORE_NAMES}
    assert "ents_f" in make_seqeval_scorer("ents")([Example(doc, doc)], spans_key="np")


def weights_of(*keys):
    f = 1.0 if len(keys) == 1 else round(1.0 / len(keys), 2)
    return {
        f"spans_{key}_{name}": {"f": f, "p": 0.0, "r": 0.0, "per_type": None}[name]
        for key in keys
        for name in SCORE_NAMES
    }


@pytest.mark.parametrize("keys", [("np",), ("chunks",), ("np", "chunks"), ("chunks", "np", "vp")])
def test_default_score_weights_follow_the_keys(keys, tmp_path):
    nlp = spacy.blank("en")
    for key in keys:
        nlp.add_pipe("bigru_chunker", name=f"to_{key}", config={"spans_key": key, "model": NARROW})
    assert nlp.config["training"]["score_weights"] == weights_of(*keys)
    assert [nlp.get_pipe_meta(f"to_{key}").scores for key in keys] == [
        [f"spans_{key}_{name}" for name in SCORE_NAMES] for key in keys
    ]
    # `spacy init fill-config` on a config with only the components.
    bare = Config({name: nlp.config[name] for name in ("nlp", "components")})
    bare.to_disk(tmp_path / "bare.cfg")
    _, filled = fill_config(tmp_path / "filled.cfg", tmp_path / "bare.cfg", silent=True)
    assert filled["training"]["score_weights"] == weights_of(*keys)
    # A pipeline that is created later does not change the config of an existing pipeline.
    spacy.blank("en").add_pipe("bigru_chunker", config={"spans_key": "other"})
    assert nlp.config["training"]["score_weights"] == weights_of(*keys)
    spacy.blank("de").add_pipe("bigru_chunker")
    assert nlp.config["training"]["score_weights"] == weights_of(*keys)


def test_training_with_another_key_selects_the_best_model_by_its_score(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("bigru_chunker", config={"spans_key": "np", "model": NARROW})
    docs = [example.reference for example in rekeyed(nlp.vocab, "np")]
    DocBin(docs=docs).to_disk(tmp_path / "data.spacy")
    config = nlp.config.copy()
    config["paths"] |= dict.fromkeys(("train", "dev"), str(tmp_path / "data.spacy"))
    config["training"] |= {"max_steps": 60, "eval_frequency": 10, "patience": 0}
    config["training"]["optimizer"] = {"@optimizers": "Adam.v1", "learn_rate": 0.01}
    config["training"]["logger"] = {"@loggers": "spacy.ConsoleLogger.v1"}
    train_pipeline(init_nlp(config), tmp_path, stdout=StringIO(), stderr=StringIO())
    best = spacy.load(tmp_path / "model-best")
    assert best.meta["performance"]["spans_np_f"] == 1.0
    found = best(Doc(best.vocab, words=TEXTS[0].split()))
    assert chunks(found, "np") == chunks(docs[0], "np")


def test_spans_below_the_threshold_are_dropped_with_their_scores(monkeypatch, pipe):
    doc = Doc(pipe.vocab, words=["Ada"])
    scores = np.zeros((1, len(pipe.tags)), dtype=np.float32)
    scores[0, pipe.tags.index("U-NP")] = np.log(4.0)
    set_logits(monkeypatch, pipe, scores)
    # The valid tags of a single token are O and U- of four labels: 4 / (4 + 1 + 1 + 1 + 1).
    for threshold, expected in ((0.49, [0.5]), (0.51, [])):
        monkeypatch.setitem(pipe.cfg, "threshold", threshold)
        group = pipe(doc).spans["chunks"]
        assert len(group) == len(expected)
        assert group.attrs["scores"] == pytest.approx(expected)
