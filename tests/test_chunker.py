import numpy as np
import pytest
from samples import TEXTS, annotate, build, read_examples, train
from spacy.tokens import Doc, Span
from spacy.training import Example

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


def test_gold_may_differ_in_spaces(pipe):
    spaced = Doc(pipe.vocab, words=WORDS, spaces=[True, False, True, True, True, False])
    gold = annotate(Doc(pipe.vocab, words=WORDS, spaces=[False] * 6), chunks=CHUNKS)
    expected = ["B-NP", "L-NP", "U-VP", "B-NP", "L-NP", "O"]
    assert pipe.gold_tags(Example(spaced, gold)) == expected
    between = Doc(pipe.vocab, words=["Ada", "Lovelace", "\n", "saw", "New", "York", "."])
    assert pipe.gold_tags(Example(between, gold)) == [*expected[:2], "O", *expected[2:]]


@pytest.mark.parametrize(
    ("annotated", "expected"), [({}, [None] * 6), ({"chunks": []}, ["O"] * 6)], ids=["no", "empty"]
)
def test_no_group_is_missing_and_an_empty_one_is_outside(pipe, annotated, expected):
    gold = annotate(Doc(pipe.vocab, words=WORDS), **annotated)
    assert pipe.gold_tags(Example(Doc(pipe.vocab, words=WORDS), gold)) == expected


@pytest.mark.parametrize("overlap", [(1, 3, "NP"), (0, 2, "NP"), (0, 6, "VP"), (4, 5, "PP")])
@pytest.mark.parametrize("words", [WORDS, ["AdaLovelace", *WORDS[2:]]], ids=["same", "other"])
def test_overlapping_gold_is_a_clear_error(chunker, words, overlap):
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


def test_two_runs_find_the_same_and_other_groups_and_entities_stay(chunker):
    doc = annotate(Doc(chunker.vocab, words=TEXTS[0].split()), [(0, 2, "PER")], [(0, 8, "XX")])
    doc.spans["mine"] = [Span(doc, 0, 3, label="MINE")]
    first = chunks(chunker(doc))
    assert first == chunks(read_examples(chunker.vocab)[0].reference)
    assert chunks(chunker(doc)) == first
    assert chunks(doc, "mine") == [(0, 3, "MINE")]
    assert [ent.text for ent in doc.ents] == ["Ada Lovelace"]


def test_no_span_begins_or_ends_in_a_space(monkeypatch, pipe):
    doc = Doc(pipe.vocab, words=["\n", "Ada", " ", "wrote", "\t"])
    scores = np.zeros((5, len(pipe.tags)), dtype=np.float32)
    scores[:, 0] = -20.0
    monkeypatch.setattr(pipe, "emissions", lambda docs: [scores.copy() for _ in docs])
    found = chunks(pipe(doc))
    assert found
    assert all(not doc[start].is_space and not doc[end - 1].is_space for start, end, _ in found)


def test_another_key(tmp_path):
    config = {
        "spans_key": "phrases",
        "scorer": {
            "@scorers": "bigru_tagger.seqeval_scorer.v1",
            "target": "spans",
            "spans_key": "phrases",
        },
    }
    examples = []
    nlp = build("bigru_tagger")  # only for its vocab
    for example in read_examples(nlp.vocab):
        reference = example.reference
        reference.spans["phrases"] = [
            Span(reference, start, end, label=label) for start, end, label in chunks(reference)
        ]
        examples.append(example)
    pipe = nlp.add_pipe("bigru_chunker", config=config)
    pipe.initialize(lambda: examples, nlp=nlp)
    assert pipe.labels == ("ADVP", "NP", "PP", "VP")
    doc = pipe(Doc(nlp.vocab, words=WORDS))
    assert list(doc.spans) == ["phrases"]
    scores = pipe.score(examples)
    assert "spans_phrases_f" in scores


def test_spans_below_the_threshold_are_dropped_with_their_scores(monkeypatch, pipe):
    doc = Doc(pipe.vocab, words=["Ada"])
    scores = np.zeros((1, len(pipe.tags)), dtype=np.float32)
    scores[0, pipe.tags.index("U-NP")] = np.log(4.0)
    monkeypatch.setattr(pipe, "emissions", lambda docs: [scores.copy() for _ in docs])
    # Legal for one token are O and U- of four labels: 4 of 4 + 1 + 1 + 1 + 1.
    for threshold, expected in ((0.49, [0.5]), (0.51, [])):
        monkeypatch.setitem(pipe.cfg, "threshold", threshold)
        group = pipe(doc).spans["chunks"]
        assert len(group) == len(expected)
        assert group.attrs["scores"] == pytest.approx(expected)
