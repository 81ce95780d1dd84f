import itertools
import json
import pickle
import warnings

import pytest
from conlleval import conlleval
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as default_prfs
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_prfs
from seqeval.scheme import IOB2
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import registry
from spacy.vocab import Vocab

from bigru_tagger.scoring.scoring import (
    Counts,
    count_entities,
    make_seqeval_scorer,
    micro_counts,
    place_predictions,
    tag_examples,
)

VOCAB = Vocab()
WORDS = ["Ada", "Lovelace", "met", "Charles", "Babbage", "in", "London", "."]


def make_doc(words, ents=(), missing=(), spans=None):
    doc = Doc(VOCAB, words=words)
    doc.set_ents(
        [Span(doc, start, end, label=label) for start, end, label in ents],
        missing=[doc[i : i + 1] for i in missing],
        default="outside",
    )
    if spans is not None:
        doc.spans["chunks"] = [Span(doc, start, end, label=label) for start, end, label in spans]
    return doc


def make_example(gold, predicted, missing=()):
    return Example(make_doc(WORDS, predicted), make_doc(WORDS, gold, missing))


TYPES = ["PER", "LOC", "work-of-art", "_"]
TAGS = ["O"] + [f"{prefix}-{label}" for prefix in "BI" for label in TYPES]
TAG_PAIRS = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=12),
    min_size=1,
    max_size=5,
)


def unzip(sequences):
    return [[g for g, _ in seq] for seq in sequences], [[p for _, p in seq] for seq in sequences]


@settings(max_examples=50, deadline=None)
@given(TAG_PAIRS)
def test_default_mode_is_conlleval_on_any_tags(sequences):
    lines = [line for seq in sequences for line in [*(f"word {g} {p}" for g, p in seq), ""]]
    expected = conlleval(lines)
    per_type = count_entities(*unzip(sequences))
    total = micro_counts(per_type)
    assert (total.precision, total.recall, total.f1) == expected.prf()
    assert set(per_type) == {
        label for label in TYPES if expected.gold[label] or expected.predicted[label]
    }
    for label, counts in per_type.items():
        assert counts == Counts(
            expected.gold[label], expected.predicted[label], expected.correct[label]
        )
        assert (counts.precision, counts.recall, counts.f1) == expected.prf(label)


@settings(max_examples=75, deadline=None)
@given(TAG_PAIRS, st.sampled_from(["default", "strict"]))
def test_counts_give_exactly_seqevals_scores(sequences, mode):
    gold, predicted = unzip(sequences)
    per_type = count_entities(gold, predicted, mode=mode)
    total = micro_counts(per_type)
    for average, rows in ((None, list(per_type.values())), ("micro", [total])):
        if mode == "strict":
            expected = strict_prfs(gold, predicted, average=average, zero_division=0, scheme=IOB2)
        else:
            expected = default_prfs(gold, predicted, average=average, zero_division=0)
        if average is None:
            expected = [list(numbers) for numbers in expected]
        else:
            expected = [[number] for number in expected]
        assert [row.precision for row in rows] == expected[0]
        assert [row.recall for row in rows] == expected[1]
        assert [row.f1 for row in rows] == expected[2]
        assert [row.gold for row in rows] == expected[3]


def test_modes_differ_on_invalid_tag_sequences():
    gold, predicted = [["B-PER", "I-PER", "O"]], [["I-PER", "I-PER", "O"]]
    assert count_entities(gold, predicted) == {"PER": Counts(1, 1, 1)}
    assert count_entities(gold, predicted, mode="strict") == {"PER": Counts(1, 0, 0)}


def test_sequences_of_different_length_raise():
    with pytest.raises(ValueError, match="1 and 1 sequences with 2 and 1 tags"):
        count_entities([["O", "O"]], [["O"]])


def test_no_tags_at_all():
    assert count_entities([], []) == {}
    assert micro_counts({}) == Counts(0, 0, 0)
    assert micro_counts({}).f1 == 0.0


def test_scores_of_a_worked_example():
    # Gold: two PER, one LOC. Predicted: one correct PER, one too short PER, one correct LOC.
    eg = make_example(
        [(0, 2, "PER"), (3, 5, "PER"), (6, 7, "LOC")], [(0, 2, "PER"), (3, 4, "PER"), (6, 7, "LOC")]
    )
    scores = make_seqeval_scorer()([eg])
    assert scores == {
        "ents_p": pytest.approx(2 / 3),
        "ents_r": pytest.approx(2 / 3),
        "ents_f": pytest.approx(2 / 3),
        "ents_per_type": {
            "LOC": {"p": 1.0, "r": 1.0, "f": 1.0},
            "PER": {"p": 0.5, "r": 0.5, "f": 0.5},
        },
    }
    assert json.loads(json.dumps(scores)) == scores


def test_tags_are_iob2_on_the_reference():
    eg = make_example([(0, 1, "PER"), (1, 2, "PER")], [(0, 2, "PER")])
    (doc,) = tag_examples([eg])
    assert doc.words == WORDS
    assert doc.gold == ["B-PER", "B-PER", *["O"] * 6]
    assert doc.predicted == ["B-PER", "I-PER", *["O"] * 6]


def test_chunks():
    predicted = make_doc(WORDS, spans=[(2, 3, "VP"), (0, 2, "NP")])
    reference = make_doc(WORDS, spans=[(0, 2, "NP"), (2, 3, "VP"), (3, 5, "NP")])
    scores = make_seqeval_scorer("spans")([Example(predicted, reference)])
    assert scores["spans_chunks_p"] == 1.0
    assert scores["spans_chunks_r"] == pytest.approx(2 / 3)
    assert scores["spans_chunks_f"] == pytest.approx(0.8)
    assert scores["spans_chunks_per_type"]["NP"] == pytest.approx({"p": 1.0, "r": 0.5, "f": 2 / 3})
    assert make_seqeval_scorer("spans", "other")([Example(predicted, reference)]) == {
        "spans_other_p": None,
        "spans_other_r": None,
        "spans_other_f": None,
        "spans_other_per_type": None,
    }


def test_chunks_without_prediction_are_missing():
    eg = Example(make_doc(WORDS), make_doc(WORDS, spans=[(0, 2, "NP")]))
    assert make_seqeval_scorer("spans")([eg])["spans_chunks_f"] == 0.0


@pytest.mark.parametrize("side", ["gold", "predicted"])
def test_overlapping_spans_raise(side):
    overlapping = make_doc(WORDS, spans=[(0, 2, "NP"), (1, 3, "VP")])
    plain = make_doc(WORDS, spans=[])
    eg = Example(plain, overlapping) if side == "gold" else Example(overlapping, plain)
    with pytest.raises(ValueError, match=r"'Ada Lovelace' .* 'Lovelace met'"):
        make_seqeval_scorer("spans")([eg])


def test_spans_without_a_label_are_counted_as_underscore():
    doc = make_doc(WORDS, spans=[(0, 2, "")])
    scores = make_seqeval_scorer("spans")([Example(doc, doc)])
    assert scores["spans_chunks_per_type"] == {"_": {"p": 1.0, "r": 1.0, "f": 1.0}}


def test_nothing_annotated_gives_none():
    unannotated = Doc(VOCAB, words=WORDS)
    examples = [Example(make_doc(WORDS, [(0, 2, "PER")]), unannotated)]
    expected = {"ents_p": None, "ents_r": None, "ents_f": None, "ents_per_type": None}
    assert make_seqeval_scorer()(examples) == expected
    assert make_seqeval_scorer()([]) == expected
    # spaCy counts a Doc without tokens as annotated, but there is nothing to score.
    assert make_seqeval_scorer()([Example(make_doc([]), make_doc([]))]) == expected


def test_unannotated_documents_are_skipped():
    good = make_example([(0, 2, "PER")], [(0, 2, "PER")])
    unannotated = Example(make_doc(WORDS, [(3, 5, "PER")]), Doc(VOCAB, words=WORDS))
    assert make_seqeval_scorer()(eg for eg in [unannotated, good])["ents_f"] == 1.0


def test_annotated_but_empty_gives_zero():
    scores = make_seqeval_scorer()([make_example([], [])])
    assert scores == {"ents_p": 0.0, "ents_r": 0.0, "ents_f": 0.0, "ents_per_type": {}}


def test_predictions_on_missing_annotation_are_ignored():
    eg = make_example([(0, 2, "PER")], [(0, 2, "PER"), (3, 5, "PER"), (6, 7, "LOC")], missing=[4])
    scores = make_seqeval_scorer()([eg])
    assert scores["ents_per_type"]["PER"] == {"p": 1.0, "r": 1.0, "f": 1.0}
    assert scores["ents_per_type"]["LOC"] == {"p": 0.0, "r": 0.0, "f": 0.0}


ENTS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(1, 3), st.sampled_from(["PER", "LOC"])), max_size=5
)


def without_overlap(ents):
    taken, kept = set(), []
    for start, length, label in ents:
        tokens = set(range(start, min(start + length, len(WORDS))))
        if not tokens & taken:
            taken |= tokens
            kept.append((start, max(tokens) + 1, label))
    return kept


@settings(max_examples=150, deadline=None)
@given(ENTS, ENTS, st.sets(st.integers(0, 7), max_size=3))
def test_scorer_agrees_with_spacys_on_equal_tokens(gold, predicted, missing):
    gold, predicted = without_overlap(gold), without_overlap(predicted)
    missing = [i for i in missing if not any(start <= i < end for start, end, _ in gold)]
    eg = make_example(gold, predicted, missing)
    expected = get_ner_prf([eg])
    scores = make_seqeval_scorer()([eg])
    if expected["ents_f"] is None:  # without entities, spaCy's scores are None and seqeval's are 0
        expected = {"ents_p": 0.0, "ents_r": 0.0, "ents_f": 0.0, "ents_per_type": {}}
    for key in ("ents_p", "ents_r", "ents_f"):
        assert scores[key] == pytest.approx(expected[key])
    for label, prf in scores["ents_per_type"].items():
        assert prf == pytest.approx(expected["ents_per_type"][label])


def test_entities_are_aligned_with_the_tokens_of_the_reference():
    reference = make_doc(["New", "York", "'s", "mayor"], [(0, 2, "LOC")])
    predicted = make_doc(["New York", "'s", "may", "or"], [(0, 1, "LOC")])
    (doc,) = tag_examples([Example(predicted, reference)])
    assert doc.predicted == ["B-LOC", "I-LOC", "O", "O"]


def test_unaligned_entities_are_false_positives():
    reference = make_doc(["Ada", "flew", "to", "Paris-Orly"], [(0, 1, "PER"), (3, 4, "LOC")])
    predicted = make_doc(
        ["Ada", "flew", "to", "Paris", "-", "Orly"], [(0, 1, "PER"), (3, 4, "LOC"), (5, 6, "LOC")]
    )
    eg = Example(predicted, reference)
    (doc,) = tag_examples([eg])
    assert doc.words == ["Ada", "flew", "to", "Paris-Orly", "Paris", "Orly"]
    assert doc.gold == ["B-PER", "O", "O", "B-LOC", "O", "O"]
    assert doc.predicted == ["B-PER", "O", "O", "O", "B-LOC", "B-LOC"]
    scores = make_seqeval_scorer()([eg])
    assert scores["ents_p"] == pytest.approx(1 / 3)
    assert scores["ents_r"] == pytest.approx(1 / 2)


def test_unaligned_entities_on_missing_annotation_are_ignored():
    reference = make_doc(["Ada", "flew", "to", "Paris-Orly"], [(0, 1, "PER")], missing=[3])
    predicted = make_doc(["Ada", "flew", "to", "Paris", "-", "Orly"], [(3, 4, "LOC")])
    (doc,) = tag_examples([Example(predicted, reference)])
    assert doc.predicted == ["O"] * 4


def test_white_space_entities_do_not_overwrite_each_other():
    reference = make_doc(["a", "\n\n", "b"], [])
    predicted = make_doc(["a", "\n", "\n", "b"], [(1, 2, "X"), (2, 3, "X")])
    (doc,) = tag_examples([Example(predicted, reference)])
    assert micro_counts(count_entities([doc.gold], [doc.predicted])) == Counts(0, 2, 0)


@st.composite
def tokenizations(draw):
    """Generate one text in two tokenizations, with different white space, both with entities."""
    text = draw(st.text(alphabet="aB.é漢", max_size=14))
    docs = []
    for _ in range(2):
        cuts = draw(st.sets(st.integers(1, max(len(text) - 1, 1))))
        bounds = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
        words = [text[start:end] for start, end in itertools.pairwise(bounds) if start < end]
        for position in draw(st.lists(st.integers(0, len(words)), max_size=3)):
            words.insert(position, draw(st.sampled_from(["\n", " ", "\u00a0", "\n\n"])))
        spaces = draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
        doc = Doc(VOCAB, words=words, spaces=spaces)
        ends = sorted(draw(st.sets(st.integers(0, len(words)), max_size=8)))
        spans = [
            Span(doc, start, end, label=draw(st.sampled_from(["PER", "LOC"])))
            for start, end in itertools.pairwise(ends)
            if draw(st.booleans())
        ]
        missing = [doc[i : i + 1] for i in draw(st.sets(st.integers(0, max(len(words) - 1, 0))))]
        inside = {token.i for span in spans for token in span}
        missing = [span for span in missing if len(span) and span.start not in inside]
        doc.set_ents(spans, missing=missing, default=draw(st.sampled_from(["outside", "missing"])))
        docs.append(doc)
    return Example(*docs)


@settings(max_examples=150, deadline=None)
@given(tokenizations())
def test_predictions_are_aligned_as_in_spacy(eg):
    expected, taken = [], set()
    for span in eg.predicted.ents:
        touched = set(eg.alignment.x2y[span.start : span.end].tolist())
        if any(eg.reference[i].ent_iob == 0 for i in touched):
            continue
        (aligned,) = eg.get_aligned_spans_x2y([span], allow_overlap=True) or [None]
        if aligned is not None and not taken & set(range(aligned.start, aligned.end)):
            taken |= set(range(aligned.start, aligned.end))
            expected.append((aligned.start, aligned.end, True, span))
        elif touched:
            expected.append((min(touched), max(touched) + 1, False, span))
        else:
            expected.append((len(eg.reference), len(eg.reference), False, span))
    assert place_predictions(eg) == expected


def test_a_document_is_aligned_only_once():
    n_read = 0

    class Counted(Example):
        @property
        def alignment(self):
            nonlocal n_read
            n_read += 1
            return super().alignment

    words = ["ab", "-", "cd"] * 50
    reference = make_doc(words, [(i, i + 3, "X") for i in range(0, 150, 3)])
    predicted = make_doc(["ab-cd"] * 50, [(i, i + 1, "X") for i in range(50)])
    (doc,) = tag_examples([Counted(predicted, reference)])
    assert doc.predicted == doc.gold == ["B-X", "I-X", "I-X"] * 50
    assert n_read == 1


def test_different_texts_raise():
    eg = Example(make_doc(["other", "text"], [(0, 1, "PER")]), make_doc(WORDS, []))
    with pytest.raises(ValueError, match="Unable to align"):
        make_seqeval_scorer()([eg])


def test_gold_labels_that_the_component_lacks_are_warned_about_once():
    scorer = make_seqeval_scorer()
    examples = [make_example([(0, 2, "PER"), (3, 5, "PER"), (6, 7, "LOC")], [])]
    with pytest.warns(UserWarning, match=r"^PER \(2 gold\): 2 of 3 gold .*\[initialize\.com"):
        first = scorer(examples, labels=("LOC",), threshold=0.5)
    # Warnings are errors: a second one would be raised.
    assert scorer(examples, labels=("LOC",)) == first
    with pytest.warns(UserWarning, match=r"LOC \(1 gold\), PER \(2 gold\): 3 of 3"):
        scorer(examples, labels=())


def test_no_warning_for_known_labels_or_wrong_predictions():
    scorer = make_seqeval_scorer()
    scorer([make_example([(0, 2, "PER")], [(6, 7, "LOC")])], labels=["PER"])
    scorer([make_example([(0, 2, "PER")], [])])


def test_seqeval_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_seqeval_scorer()([make_example([(0, 1, "a-b"), (1, 2, "E")], [(3, 4, "B-")])])


@pytest.mark.parametrize("arguments", [{}, {"target": "spans", "spans_key": "sc"}])
def test_scorer_is_registered_and_can_be_pickled(arguments):
    config = {"@scorers": "bigru_tagger.seqeval_scorer.v1", **arguments}
    scorer = registry.resolve({"scorer": config})["scorer"]
    copy = pickle.loads(pickle.dumps(scorer))
    doc = make_doc(WORDS, [(0, 2, "PER")])
    doc.spans["sc"] = [Span(doc, 0, 2, "NP")]
    scores = scorer([Example(doc, doc)])
    assert scores["spans_sc_f" if arguments else "ents_f"] == 1.0
    assert copy([Example(doc, doc)]) == scores


def test_target_is_validated():
    config = {"@scorers": "bigru_tagger.seqeval_scorer.v1", "target": "tags"}
    with pytest.raises(ValueError, match="target"):
        registry.resolve({"scorer": config})
