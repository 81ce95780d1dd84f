"""Two systems on three documents, worked out by hand; and properties of any two systems."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.report.system_comparison import (
    SCORES,
    Difference,
    Disagreement,
    Overlap,
    compare_systems,
)
from bigru_tagger.scoring.run import score_predictions
from bigru_tagger.scoring.scoring import make_seqeval_scorer

VOCAB = Vocab()
# Words, then the entities of gold, A and B.
DOCS = [
    (
        "Ada met Eve",
        [("PER", 0, 1), ("PER", 2, 3)],
        [("PER", 0, 1), ("PER", 2, 3)],
        [("PER", 0, 1), ("LOC", 2, 3)],
    ),
    ("Kew fell", [("LOC", 0, 1)], [], [("LOC", 0, 1)]),
    ("Rain in Oslo", [("LOC", 2, 3)], [("LOC", 2, 3)], [("LOC", 0, 1)]),
]


def annotated(words, spans, starts=None, spans_key=None):
    doc = Doc(VOCAB, words=words, sent_starts=starts)
    made = [Span(doc, start, end, label) for label, start, end in spans]
    if spans_key is None:
        doc.set_ents(made, default="outside")
    else:
        doc.spans[spans_key] = made
    return doc


def evaluation(docs, side, *, cuts=None, starts=None, spans_key=None, model="A"):
    """Score one side of `DOCS` on Docs that end at `cuts`, counted in documents."""
    cuts = cuts or range(1, len(docs) + 1)
    examples, begin = [], 0
    for cut in cuts:
        words, spans = [], ([], [])
        for text, *sides in docs[begin:cut]:
            for own, found in zip(spans, (sides[0], sides[side]), strict=True):
                own += [(label, s + len(words), e + len(words)) for label, s, e in found]
            words += text.split()
        begin = cut
        gold, predicted = (
            annotated(words, own, first, spans_key)
            for own, first in zip(spans, (starts, None), strict=True)
        )
        examples.append(Example(predicted, gold))
    return score_predictions(examples, model=model, spans_key=spans_key or "chunks")


A, B = evaluation(DOCS, 1), evaluation(DOCS, 2, model="B")


def values(scores):
    return {
        name: (Fraction(own.a).limit_denominator(99), Fraction(own.b).limit_denominator(99))
        for name, own in scores.items()
    }


def test_scores_of_worked_documents():
    found = compare_systems(A, B).tasks["entities"]
    assert found.documents == 3
    # A finds 3 of 4 and has no wrong predictions. B finds 2 of 4 and has two wrong.
    assert values(found.micro) == {
        "precision": (1, Fraction(1, 2)),
        "recall": (Fraction(3, 4), Fraction(1, 2)),
        "f1": (Fraction(6, 7), Fraction(1, 2)),
    }
    assert values(found.per_type["LOC"]) == {
        "precision": (1, Fraction(1, 3)),
        "recall": (Fraction(1, 2), Fraction(1, 2)),
        "f1": (Fraction(2, 3), Fraction(2, 5)),
    }
    assert values(found.per_type["PER"]) == {
        "precision": (1, 1),
        "recall": (1, Fraction(1, 2)),
        "f1": (1, Fraction(2, 3)),
    }
    for scores in (found.micro, *found.per_type.values()):
        assert all(own.difference == own.a - own.b for own in scores.values())


def test_intervals_of_worked_documents():
    found = compare_systems(A, B).tasks["entities"]
    # One of the 27 resamples has only the second document, where only B is correct. Another has
    # only the third, where only A is correct. Each is more than 2.5 % of all.
    for score in SCORES:
        assert found.micro[score].interval == (-1.0, 1.0)
    # Only the first document has persons, so the difference is the same in all resamples with it.
    assert found.per_type["PER"]["precision"].interval == (0.0, 0.0)
    assert found.per_type["PER"]["recall"].interval == (0.5, 0.5)


def test_p_of_worked_documents():
    found = compare_systems(A, B, n_trials=20_000).tasks["entities"]
    # Of the ways to swap (each has a mirror image with the same absolute difference):
    #   none: precision 3/3 - 2/4, F1 6/7 - 1/2   the first: 2/3 - 3/4, 4/7 - 3/4
    #   the second: 4/4 - 1/3, 1 - 2/7            the third: 2/3 - 3/4, 4/7 - 3/4
    # So two of four are at least as extreme. All change recall by 1/4 or 3/4.
    assert found.micro["precision"].p == pytest.approx(0.5, abs=0.02)
    assert found.micro["f1"].p == pytest.approx(0.5, abs=0.02)
    assert found.micro["recall"].p == 1.0
    # Only the first document has persons: swapped or not, the difference is as large.
    assert found.per_type["PER"]["recall"].p == 1.0


def test_entities_that_only_one_system_has():
    found = compare_systems(A, B).tasks["entities"]
    assert found.gold == Overlap(both=1, only_a=2, only_b=1, neither=0)
    assert found.wrong == Overlap(both=0, only_a=0, only_b=2, neither=0)
    first = ("Ada", "met", "Eve")
    gold = (("PER", 0, 1), ("PER", 2, 3))
    assert found.only_a == (
        Disagreement(first, ("PER", 2, 3), gold, gold, (("PER", 0, 1), ("LOC", 2, 3))),
        Disagreement(
            ("Rain", "in", "Oslo"),
            ("LOC", 2, 3),
            (("LOC", 2, 3),),
            (("LOC", 2, 3),),
            (("LOC", 0, 1),),
        ),
    )
    assert found.only_b == (
        Disagreement(("Kew", "fell"), ("LOC", 0, 1), (("LOC", 0, 1),), (), (("LOC", 0, 1),)),
    )


@pytest.mark.parametrize("keys", [("chunks", "chunks"), ("chunks", "parts")])
def test_chunks_are_compared_too(keys):
    sides = [evaluation(DOCS, side, spans_key=key) for side, key in zip((1, 2), keys, strict=True)]
    found = compare_systems(*sides)
    assert "entities" not in found.tasks
    assert found.tasks["chunks"] == compare_systems(A, B).tasks["entities"]


@pytest.mark.parametrize(
    ("cuts", "lengths", "documents"),
    [
        ([[1, 2, 3], [1, 2, 3]], None, 3),
        ([[1, 2, 3], [2, 3]], None, 2),
        ([[1, 3], [1, 2, 3]], None, 2),
        ([[1, 3], [2, 3]], None, 1),
        ([[1, 2, 3], [1, 2, 3]], [3, 5], 2),
        ([[1, 2, 3], [1, 2, 3]], [5, 3], 2),
        ([[1, 3], [1, 2, 3]], [5, 3], 1),
    ],
)
def test_documents_end_where_docs_of_both_systems_end(cuts, lengths, documents):
    sides = [evaluation(DOCS, side, cuts=own) for side, own in zip((1, 2), cuts, strict=True)]
    found = compare_systems(*sides, document_lengths=lengths).tasks["entities"]
    assert found.documents == documents
    assert values(found.micro)["f1"] == (Fraction(6, 7), Fraction(1, 2))
    assert found.gold == Overlap(both=1, only_a=2, only_b=1, neither=0)
    # One document gives no interval and no p.
    assert (found.micro["f1"].interval is None) == (documents == 1)
    assert (found.micro["f1"].p is None) == (documents == 1)


def test_a_type_that_only_one_system_predicts_has_no_difference():
    docs = [("Ada met Eve", [("PER", 0, 1)], [("PER", 0, 1)], [("X", 1, 2)]), *DOCS[1:]]
    found = compare_systems(evaluation(docs, 1), evaluation(docs, 2)).tasks["entities"]
    assert found.per_type["X"]["recall"] == Difference(None, 0.0, None, None, None)
    assert set(found.per_type) == {"LOC", "PER", "X"}


def test_sentences_of_disagreements():
    """The sentence is that of the gold data, extended if a prediction crosses its end."""
    docs = [
        (
            "One came . Two went . Three stayed .",
            [("PER", 3, 4), ("PER", 6, 7)],
            [("PER", 3, 4), ("PER", 6, 7)],
            [("ORG", 5, 8)],
        )
    ]
    starts = [i in (0, 3, 6) for i in range(9)]
    sides = [evaluation(docs, side, starts=starts) for side in (1, 2)]
    found = compare_systems(*sides).tasks["entities"]
    two, three = found.only_a
    assert (two.words, two.entity) == (("Two", "went", "."), ("PER", 0, 1))
    assert (two.gold, two.a, two.b) == ((("PER", 0, 1),), (("PER", 0, 1),), ())
    assert three.words == ("Two", "went", ".", "Three", "stayed", ".")
    assert (three.entity, three.b) == (("PER", 3, 4), (("ORG", 2, 5),))
    assert three.gold == (("PER", 0, 1), ("PER", 3, 4))


def test_long_docs_without_sentences_are_cut():
    words = " ".join(f"w{i}" for i in range(300))
    docs = [(words, [("X", 0, 1), ("X", 150, 152)], [("X", 150, 152)], [("X", 0, 1)])]
    found = compare_systems(*(evaluation(docs, side) for side in (1, 2))).tasks["entities"]
    (middle,), (first,) = found.only_a, found.only_b
    assert (middle.words[0], middle.words[-1], len(middle.words)) == ("w100", "w201", 102)
    assert middle.words[middle.entity[1]] == "w150"
    assert (first.words[0], first.words[-1]) == ("w0", "w50")


def test_the_numbers_are_those_of_the_scorer_to_the_last_digit():
    found = compare_systems(A, B)
    for side, own in (("a", A), ("b", B)):
        scores = make_seqeval_scorer()(own.examples)
        micro = own.to_json()["entities"]["default"]["micro"]
        for score, key in zip(SCORES, "prf", strict=True):
            value = getattr(found.tasks["entities"].micro[score], side)
            assert value == scores[f"ents_{key}"] == micro[score]
            for label, row in scores["ents_per_type"].items():
                assert getattr(found.tasks["entities"].per_type[label][score], side) == row[key]


LABELS = ("LOC", "PER")
SPANS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.integers(0, 5), st.integers(1, 3)), max_size=3
)


def free(spans, n_tokens=6):
    """Make spans of starts and lengths, without overlap."""
    found, end = [], 0
    for label, start, length in sorted(spans, key=lambda span: span[1]):
        if start >= end:
            end = min(start + length, n_tokens)
            found.append((label, start, end))
    return found


SYSTEMS = (
    st.lists(st.tuples(SPANS, SPANS, SPANS), min_size=2, max_size=4)
    .map(lambda docs: [("a b c d e f", *map(free, sides)) for sides in docs])
    .filter(lambda docs: any(gold for _, gold, _, _ in docs))
)


@settings(max_examples=40, deadline=None)
@given(SYSTEMS)
def test_a_system_does_not_differ_from_itself(docs):
    own = evaluation(docs, 1)
    found = compare_systems(own, own, n_resamples=50, n_trials=50).tasks["entities"]
    for scores in (found.micro, *found.per_type.values()):
        for score in scores.values():
            assert (score.difference, score.p) == (0.0, 1.0)
            assert score.interval == (0.0, 0.0)
            assert score.a == score.b
    assert found.only_a == found.only_b == ()
    assert found.gold.only_a == found.gold.only_b == found.wrong.only_a == found.wrong.only_b == 0


@settings(max_examples=40, deadline=None)
@given(SYSTEMS)
def test_swapping_the_systems_negates_the_differences(docs):
    a, b = evaluation(docs, 1), evaluation(docs, 2)
    there = compare_systems(a, b, n_resamples=50, n_trials=50).tasks["entities"]
    back = compare_systems(b, a, n_resamples=50, n_trials=50).tasks["entities"]
    rows = [(there.micro, back.micro)]
    rows += [(own, back.per_type[label]) for label, own in there.per_type.items()]
    for row, mirrored in rows:
        for score in SCORES:
            own, other = row[score], mirrored[score]
            assert (own.a, own.b, own.p) == (other.b, other.a, other.p)
            if own.difference is not None:
                assert own.difference == -other.difference
                low, high = other.interval
                assert own.interval == pytest.approx((-high, -low), abs=1e-12)
    assert there.gold.only_a == back.gold.only_b == len(there.only_a) == len(back.only_b)
    assert there.wrong.only_a == back.wrong.only_b
    assert [own.words for own in there.only_a] == [own.words for own in back.only_b]


def exact_p(docs):
    """Compute the share of all ways to swap documents whose F1 difference is as extreme."""
    found = []
    for swaps in product([1, 2], repeat=len(docs)):
        micro = [
            evaluation(
                [
                    (words, gold, *(spans if swap == 1 else spans[::-1]))
                    for swap, (words, gold, *spans) in zip(swaps, docs, strict=True)
                ],
                side,
            ).to_json()["entities"]["default"]["micro"]["f1"]
            for side in (1, 2)
        ]
        found.append(abs(micro[0] - micro[1]))
    return np.mean([value >= found[0] - 1e-9 for value in found])


@settings(max_examples=10, deadline=None)
@given(SYSTEMS)
def test_p_approximates_all_ways_to_swap(docs):
    found = compare_systems(evaluation(docs, 1), evaluation(docs, 2), n_trials=4000).tasks[
        "entities"
    ]
    # Within five standard deviations of a share of 4,000 trials.
    assert found.micro["f1"].p == pytest.approx(exact_p(docs), abs=5 * 0.5 / 4000**0.5)


def test_predictions_on_other_tokens_are_compared():
    """An entity that does not align with the gold tokens counts as wrong, in its document."""
    gold = annotated(["Kew", "Gardens", "fell"], [("LOC", 0, 2)])
    other = annotated(["Kew", "Gar", "dens", "fell"], [("LOC", 1, 2)])
    right = annotated(["Kew", "Gardens", "fell"], [("LOC", 0, 2)])
    a = score_predictions([Example(other, gold), Example(right, gold)], model="A")
    b = score_predictions([Example(right, gold), Example(right, gold)], model="B")
    found = compare_systems(a, b).tasks["entities"]
    assert values(found.micro) == {
        "precision": (Fraction(1, 2), 1),
        "recall": (Fraction(1, 2), 1),
        "f1": (Fraction(1, 2), 1),
    }
    assert found.wrong == Overlap(both=0, only_a=1, only_b=0, neither=0)
    # Resamples of only the first document: 0 against 1; of only the second: no difference.
    assert found.micro["recall"].interval == (-1.0, 0.0)


def test_wrong_predictions_on_other_tokens_are_counted_by_their_place():
    """The same text twice in a Doc counts twice, also if the other system read other Docs."""
    words, cut = ["Ada", "saw", "Eve"], ["Ada", "saw", "E", "ve"]

    def example(n_sentences):
        gold = [("PER", 3 * i, 3 * i + 1) for i in range(n_sentences)]
        found = [("PER", 4 * i + j, 4 * i + j + 1) for i in range(n_sentences) for j in (0, 2)]
        return Example(annotated(cut * n_sentences, found), annotated(words * n_sentences, gold))

    a = score_predictions([example(2)], model="A")
    b = score_predictions([example(1), example(1)], model="B")
    numbers = compare_systems(a, b).tasks["entities"]
    assert numbers.wrong == Overlap(both=2, only_a=0, only_b=0, neither=0)


def test_documents_without_annotation_are_left_out():
    doc = Doc(VOCAB, words=["nobody", "looked"])
    sides = [score_predictions([*side.examples, Example(doc, doc)], model="x") for side in (A, B)]
    assert compare_systems(*sides).tasks["entities"] == compare_systems(A, B).tasks["entities"]


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        ([("Ada met Bob", *DOCS[0][1:]), *DOCS[1:]], "token 3 is 'Eve' for A and 'Bob' for B"),
        (DOCS[:2], "token 6 is 'Rain' for A and None for B"),
        ([(DOCS[0][0], [], *DOCS[0][2:]), *DOCS[1:]], "token 1 is 'B-PER' for A and 'O' for B"),
    ],
)
def test_different_gold_data_are_an_error(docs, message):
    with pytest.raises(ValueError, match=message):
        compare_systems(A, evaluation(docs, 2))


def test_systems_without_a_common_task_are_an_error():
    chunks = evaluation(DOCS, 1, spans_key="chunks", model="C")
    with pytest.raises(ValueError, match="A was scored on entities, C on chunks"):
        compare_systems(A, chunks)


def test_documents_of_other_data_are_an_error():
    with pytest.raises(ValueError, match="have 7 tokens, but the gold data have 8"):
        compare_systems(A, B, document_lengths=[3, 4])


def test_to_json():
    content = compare_systems(A, B, n_resamples=10, n_trials=20, seed=3).to_json()
    assert (content["n_resamples"], content["n_trials"], content["seed"]) == (10, 20, 3)
    assert (content["a"], content["b"], content["confidence"]) == ("A", "B", 0.95)
    assert content["words_per_second"] == {"a": None, "b": None}
    assert content["chunks"] is None
    assert content["entities"]["micro"]["precision"]["difference"] == 0.5
    assert content["entities"]["gold"] == {"both": 1, "only_a": 2, "only_b": 1, "neither": 0}
    assert content["entities"]["only_b"][0]["words"] == ("Kew", "fell")
