from collections import Counter

import numpy as np
import pytest
from oracle import evaluate_sentences
from samples import annotate
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.report.matching import MatchedDoc, Mention, match_example
from bigru_tagger.report.resampling import bootstrap_interval, per_type
from bigru_tagger.report.slices import (
    LENGTHS,
    NOVELTY,
    Training,
    by_length,
    by_novelty,
    by_sentence_length,
    by_sentence_number,
    count_slices,
    range_names,
    read_training,
    scores_of,
)
from bigru_tagger.scoring.scoring import Counts
from bigru_tagger.tasks import CHUNKS

WORDS = ["Ada", "Lovelace", "met", ".", "Go", "!", "Eve", "Smith", "of", "the", "Royal", "Museum"]
# Sentences of 4, 2 and 6 tokens.
DOC = MatchedDoc(1, WORDS, [True] * 12, [0, 4, 6], frozenset(), [])


def mention(start, end, label="PER"):
    return Mention(start, end, label, " ".join(WORDS[start:end]))


def test_names_of_ranges():
    assert range_names((1, 2, 3, 6, 11)) == ["1", "2", "3 to 5", "6 to 10", "11 and more"]
    assert range_names((1,)) == ["1 and more"]


def test_lengths():
    found = [by_length(DOC, mention(0, end)) for end in (1, 2, 4, 5, 6, 12)]
    assert [range_names(LENGTHS)[i] for i in found] == [
        "1",
        "2",
        "4",
        "5 and more",
        "5 and more",
        "5 and more",
    ]


def test_sentences():
    # All three have 1 to 9 tokens. The third sentence is in the slice "3 to 5".
    number = by_sentence_number([0])
    assert [number(DOC, mention(i, i + 1)) for i in (0, 3, 4, 6, 11)] == [0, 0, 1, 2, 2]
    # In the second Doc of a document, after four sentences, they are the fifth to the seventh.
    # Slices begin at the third and the sixth.
    later = by_sentence_number([0, 4])
    second = DOC._replace(number=2)
    assert [later(second, mention(i, i + 1)) for i in (0, 4, 6)] == [2, 3, 3]
    assert {by_sentence_length(DOC, mention(i, i + 1)) for i in range(12)} == {0}
    long = DOC._replace(words=["a"] * 60, starts=[0, 9, 19, 59])
    # Sentences of 9, 10, 40 and 1 tokens.
    assert [by_sentence_length(long, Mention(i, i + 1, "A", "")) for i in (8, 9, 58, 59)] == [
        0,
        1,
        4,
        0,
    ]
    # A prediction that shares no token with the gold data counts in the last sentence.
    assert number(DOC, Mention(12, 12, "A", "?")) == 2


def test_novelty():
    words = frozenset(["Ada", "Lovelace", "the", "Royal", "Eve"])
    labels = {"Ada Lovelace": Counter(PER=2), "Eve": Counter(LOC=1)}
    slice_of = by_novelty(Training(labels, words))
    found = {
        "this type": slice_of(DOC, mention(0, 2)),
        "other type": slice_of(DOC, mention(0, 2, "ORG")),
        "seen words": slice_of(DOC, mention(9, 11)),
        "one seen word": slice_of(DOC, mention(6, 8)),
        "unseen words": slice_of(DOC, mention(7, 8)),
        "other case": by_novelty(Training(labels, frozenset(["ada"])))(DOC, mention(0, 1)),
    }
    assert list(found.values()) == [0, 1, 2, 3, 4, 4]
    assert len(NOVELTY) == 5


def test_training_data():
    vocab = Vocab()
    docs = [
        annotate(Doc(vocab, words=["New", "York", "fell"]), [(0, 2, "LOC")], [(0, 2, "NP")]),
        annotate(Doc(vocab, words=["New", "York"]), [(0, 2, "ORG")]),
        Doc(vocab, words=["unannotated"]),
    ]
    examples = [Example(Doc(vocab, words=[t.text for t in doc]), doc) for doc in docs]
    assert read_training(examples) == Training(
        {"New York": Counter(LOC=1, ORG=1)}, frozenset(["New", "York", "fell", "unannotated"])
    )
    assert read_training(examples, CHUNKS).labels == {"New York": Counter(NP=1)}
    with pytest.raises(
        ValueError, match=r"have no entities \(doc.ents\): check `train` and `train_split`"
    ):
        read_training(examples[2:])
    with pytest.raises(ValueError, match=r"no chunks \(doc.spans\['other'\]\)"):
        read_training(examples, CHUNKS.with_key("other"))


def test_a_prediction_counts_in_its_own_slice():
    # A gold entity of two tokens, predicted with one; and a correct one of one token.
    result = evaluate_sentences(
        ("Ada Lovelace met Eve", [(0, 2, "A"), (3, 4, "A")], [(0, 1, "A"), (3, 4, "A")]),
        ("Nobody left", [], []),
    )
    docs = [match_example(eg) for eg in result.examples]
    counts = count_slices(docs, len(LENGTHS), by_length)
    assert counts.tolist() == [
        [[1, 2, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0]] * 5,
    ]
    one, two = scores_of(range_names(LENGTHS), counts)
    assert (one.name, one.precision, one.recall) == ("1", 0.5, 1.0)
    assert (two.name, two.gold, two.predicted, two.f1) == ("2", 1, 0, 0.0)


def test_intervals_are_those_of_resampling():
    counts = np.array([[[4, 4, 3]], [[2, 3, 1]], [[5, 4, 4]], [[1, 1, 1]]])
    (score,) = scores_of(["A"], counts)
    assert score.f1 == Counts(12, 12, 9).f1
    low, high = bootstrap_interval(counts, per_type)
    assert score.intervals == tuple(zip(low[0].tolist(), high[0].tolist(), strict=True))


def test_scores_without_an_interval():
    everything = (None, None, None)
    # One document; and several documents whose scores are the same in all resamples.
    assert scores_of(["A"], np.array([[[4, 4, 3]]]))[0].intervals == everything
    assert scores_of(["A"], np.array([[[4, 4, 4]], [[1, 1, 1]]]))[0].intervals == everything
