from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.report.matching import (
    Mention,
    MucCounts,
    count_kinds,
    match_example,
    match_mentions,
    muc_counts,
)
from bigru_tagger.scoring.scoring import Counts, count_tagged, tag_examples
from bigru_tagger.tasks import CHUNKS

VOCAB = Vocab()


def mentions(*spans):
    return [Mention(start, end, label, "") for start, end, label in spans]


def match(gold, predicted):
    """List kinds, positions of both sides and remainders, from left to right."""
    return [
        (own.kind, own.gold and own.gold[:3], own.predicted and own.predicted[:3], own.remainder)
        for own in match_mentions(mentions(*gold), mentions(*predicted))
    ]


@pytest.mark.parametrize(
    ("gold", "predicted", "kind"),
    [
        ((2, 4, "PER"), (2, 4, "PER"), "correct"),
        ((2, 4, "PER"), (2, 4, "LOC"), "wrong type"),
        ((2, 4, "PER"), (2, 3, "PER"), "wrong boundaries"),
        ((2, 4, "PER"), (1, 5, "PER"), "wrong boundaries"),
        ((2, 4, "PER"), (3, 6, "LOC"), "wrong type and boundaries"),
    ],
)
def test_kinds_of_pairs(gold, predicted, kind):
    assert match([gold], [predicted]) == [(kind, gold, predicted, False)]


def test_adjacent_entities_do_not_match():
    assert match([(0, 2, "PER")], [(2, 3, "PER")]) == [
        ("missing", (0, 2, "PER"), None, False),
        ("spurious", None, (2, 3, "PER"), False),
    ]


def test_a_split_has_wrong_boundaries_once_and_the_rest_is_spurious():
    # Both parts have the same type and share one token: the first is matched.
    assert match([(0, 2, "PER")], [(0, 1, "PER"), (1, 2, "PER")]) == [
        ("wrong boundaries", (0, 2, "PER"), (0, 1, "PER"), False),
        ("spurious", None, (1, 2, "PER"), True),
    ]
    # More shared tokens are preferred, and the same type is preferred to them.
    assert match([(0, 3, "PER")], [(0, 1, "PER"), (1, 3, "PER")])[1][2] == (1, 3, "PER")
    assert match([(0, 3, "PER")], [(0, 1, "PER"), (1, 3, "LOC")]) == [
        ("wrong boundaries", (0, 3, "PER"), (0, 1, "PER"), False),
        ("spurious", None, (1, 3, "LOC"), True),
    ]


def test_a_merge_has_wrong_boundaries_once_and_the_rest_is_missing():
    assert match([(0, 2, "PER"), (3, 4, "LOC")], [(0, 4, "LOC")]) == [
        ("missing", (0, 2, "PER"), None, True),
        ("wrong boundaries", (3, 4, "LOC"), (0, 4, "LOC"), False),
    ]


@pytest.mark.parametrize("n_before", range(10))
def test_the_first_of_equal_gold_entities_matches(n_before):
    before = [(2 * i, 2 * i + 1, "PER") for i in range(n_before)]
    assert match([*before, (30, 31, "PER"), (31, 32, "PER")], [(30, 32, "PER")])[n_before:] == [
        ("wrong boundaries", (30, 31, "PER"), (30, 32, "PER"), False),
        ("missing", (31, 32, "PER"), None, True),
    ]


def test_a_chain_of_overlaps():
    # The middle pair shares its type. The entities before and after it have no match.
    gold = [(0, 2, "A"), (3, 6, "B")]
    predicted = [(1, 4, "B"), (5, 8, "C")]
    assert match(gold, predicted) == [
        ("missing", (0, 2, "A"), None, True),
        ("wrong boundaries", (3, 6, "B"), (1, 4, "B"), False),
        ("spurious", None, (5, 8, "C"), True),
    ]


def test_muc_categories_of_a_worked_example():
    # 1 correct, 2 wrong type, 3 wrong boundaries, 4 both, 5 missing, 6 spurious.
    gold = [(0, 1, "A"), (2, 3, "A"), (4, 6, "A"), (7, 9, "A"), (10, 11, "A")]
    predicted = [(0, 1, "A"), (2, 3, "B"), (4, 5, "A"), (7, 8, "B"), (12, 13, "A")]
    found = match_mentions(mentions(*gold), mentions(*predicted))
    counts = muc_counts(Counter(own.kind for own in found))
    assert counts == {
        "strict": MucCounts(1, 3, 0, 1, 1),
        "exact": MucCounts(2, 2, 0, 1, 1),
        "partial": MucCounts(2, 0, 2, 1, 1),
        "type": MucCounts(2, 2, 0, 1, 1),
    }
    # There are five gold and five predicted entities.
    assert [own.f1 for own in counts.values()] == pytest.approx([0.2, 0.4, 0.6, 0.4])


def test_muc_scores_of_other_numbers_of_gold_and_predicted():
    counts = MucCounts(correct=3, incorrect=1, partial=2, missing=4, spurious=0)
    assert counts.precision == pytest.approx(4 / 6)
    assert counts.recall == pytest.approx(4 / 10)
    assert counts.f1 == pytest.approx(0.5)
    assert MucCounts(0, 0, 0, 0, 0).f1 == 0.0


def make_doc(words, ents=(), missing=(), **kwargs):
    doc = Doc(VOCAB, words=words, **kwargs)
    spans = [Span(doc, start, end, label) for start, end, label in ents]
    doc.set_ents(spans, missing=[doc[i : i + 1] for i in missing], default="outside")
    return doc


def test_an_example_with_other_tokens():
    words = ["Eve", "met", "Ada", "Lovelace", "in", "York", "."]
    spaces = [True, True, True, True, True, False, False]
    gold = make_doc(words, [(0, 1, "PER"), (2, 4, "PER"), (5, 6, "LOC")], spaces=spaces)
    # "Eve" is two tokens in the prediction, and "York" has one token with the full stop.
    predicted = make_doc(
        ["E", "ve", "met", "Ada", "Lovelace", "in", "York."],
        [(0, 2, "PER"), (3, 5, "PER"), (6, 7, "LOC")],
        spaces=[False, True, True, True, True, True, False],
    )
    doc = match_example(Example(predicted, gold))
    assert [own.kind for own in doc.matches] == ["correct", "correct", "wrong boundaries"]
    assert doc.matches[2].predicted == Mention(5, 7, "LOC", "York .")
    assert doc.spaces == spaces


def test_a_part_of_a_token_is_not_that_token():
    # "Yor" is a part of the token "York", so it has the token positions of the gold entity.
    gold = make_doc(["York"], [(0, 1, "LOC")], spaces=[False])
    predicted = make_doc(["Yor", "k"], [(0, 1, "LOC")], spaces=[False, False])
    (own,) = match_example(Example(predicted, gold)).matches
    assert own.kind == "wrong boundaries"


def test_two_predictions_in_one_token_are_two():
    gold = make_doc(["haha"], [(0, 1, "LOC")], spaces=[False])
    predicted = make_doc(["ha", "ha"], [(0, 1, "LOC"), (1, 2, "LOC")], spaces=[False, False])
    found = match_example(Example(predicted, gold)).matches
    assert sorted(own.kind for own in found) == ["spurious", "wrong boundaries"]


def test_sentences_missing_annotation_and_number():
    words = ["Ada", "wrote", ".", "Eve", "left"]
    gold = make_doc(words, [(0, 1, "PER")], missing=[3], sent_starts=[True, 0, 0, True, 0])
    predicted = make_doc(words, [(0, 1, "PER"), (3, 4, "PER")])
    doc = match_example(Example(predicted, gold), number=7)
    assert (doc.number, doc.starts, doc.unknown) == (7, [0, 3], frozenset({3}))
    assert [own.kind for own in doc.matches] == ["correct"]
    assert match_example(Example(predicted, Doc(VOCAB, words=words))) is None
    assert match_example(Example(predicted, make_doc(words))).starts == [0]


def test_probabilities_of_entities():
    for name in ("matching_sure", "matching_also"):
        Span.set_extension(name, default=None, force=True)
    words = ["Ada", "met", "Eve", "and", "Bob"]
    gold = make_doc(words, [(0, 1, "PER")])
    predicted = make_doc(words, [(0, 1, "PER"), (2, 3, "PER"), (4, 5, "PER")])
    predicted.ents[0]._.matching_sure = 0.75
    predicted.ents[1]._.matching_also = 0.0
    names = ("matching_sure", "matching_also", "matching_nobody_set_this")
    doc = match_example(Example(predicted, gold), confidence=names)
    assert [own.predicted.probability for own in doc.matches] == [0.75, 0.0, None]
    doc = match_example(Example(predicted, gold))
    assert [own.predicted.probability for own in doc.matches] == [None, None, None]


def test_probabilities_of_spans_are_in_the_groups_own_order():
    words = ["Ada", "wrote", "it"]
    gold, predicted = make_doc(words), make_doc(words)
    gold.spans["chunks"] = [Span(gold, 0, 1, "NP")]
    predicted.spans["chunks"] = [Span(predicted, 1, 2, "VP"), Span(predicted, 0, 1, "NP")]
    predicted.spans["chunks"].attrs["scores"] = [0.25, 0.5]
    doc = match_example(Example(predicted, gold), CHUNKS)
    assert [(own.predicted.label, own.predicted.probability) for own in doc.matches] == [
        ("NP", 0.5),
        ("VP", 0.25),
    ]
    predicted.spans["chunks"].append(Span(predicted, 2, 3, "NP"))
    doc = match_example(Example(predicted, gold), CHUNKS)
    assert {own.predicted.probability for own in doc.matches} == {None}


SPANS = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from("AB")), max_size=6)


def random_doc(words, spans, missing=()):
    chosen, taken = [], set()
    for start, length, label in spans:
        tokens = set(range(start, min(start + length, len(words))))
        if tokens and not tokens & taken:
            taken |= tokens
            chosen.append((start, max(tokens) + 1, label))
    return make_doc(words, chosen, [i for i in missing if i not in taken])


@settings(max_examples=75, deadline=None)
@given(SPANS, SPANS, st.sets(st.integers(0, 8), max_size=2), st.booleans())
def test_every_entity_is_matched_once_and_correct_as_in_seqeval(
    gold, predicted, missing, other_tokens
):
    words = [*"abcdefgh", "ij"]
    other = [*words[:-1], "i", "j"] if other_tokens else words
    eg = Example(random_doc(other, predicted), random_doc(words, gold, missing))
    doc = match_example(eg)
    counts = count_tagged(tag_examples([eg]))
    for label in "AB":
        own = Counts(
            sum(m.gold is not None and m.gold.label == label for m in doc.matches),
            sum(m.predicted is not None and m.predicted.label == label for m in doc.matches),
            sum(m.kind == "correct" and m.gold.label == label for m in doc.matches),
        )
        assert own == counts.get(label, Counts(0, 0, 0))
    sides = [[m.gold for m in doc.matches], [m.predicted for m in doc.matches]]
    for side in sides:
        tokens = [(m.start, m.end) for m in side if m is not None and m.aligned]
        assert len(set(tokens)) == len(tokens)
    kinds = count_kinds([doc])
    strict = muc_counts(kinds)["strict"]
    total = Counts(*(sum(getattr(c, n) for c in counts.values()) for n in Counts.__annotations__))
    assert (strict.precision, strict.recall, strict.f1) == (
        total.precision,
        total.recall,
        total.f1,
    )
    # A remainder overlaps an entity of the other side that has another match.
    for own in doc.matches:
        if own.kind in ("missing", "spurious"):
            others = sides[own.kind == "missing"]
            overlaps = any(o and o.start < own.end and own.start < o.end for o in others)
            assert own.remainder == overlaps
