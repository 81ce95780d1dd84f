"""Scores of some of the entities: of a type, of a length, of those that training has shown."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from spacy.training import Example

from ..scoring.scoring import Counts, type_of
from ..tasks import ENTITIES, Task
from .matching import MatchedDoc, Mention
from .resampling import bootstrap_interval, per_type

LENGTHS = (1, 2, 3, 4, 5)
SENTENCE_LENGTHS = (1, 10, 20, 30, 40)
SENTENCE_NUMBERS = (1, 2, 3, 6, 11, 21)
NOVELTY = (
    "seen with this type",
    "seen with other types only",
    "new, of seen words only",
    "new, of seen and unseen words",
    "new, of unseen words only",
)

Interval: TypeAlias = tuple[float, float] | None
Slice: TypeAlias = Callable[[MatchedDoc, Mention], int]
"""From an entity, and the document it is in, to the number of the slice that it belongs to."""


@dataclass(frozen=True)
class Score:
    """Precision, recall and F1, and how far each could be off.

    name (str): what they are of.
    precision, recall, f1 (float): the scores.
    gold (int): gold entities.
    predicted, correct (int | None): predicted and correct entities; `None` of an average of types.
    intervals (tuple[Interval, ...]): the 95 % bootstrap interval of each score, see `resampling`;
        `None` where there is none: with a single document, and where all resamples agree, which
        tells that entities are few, not that the score is certain.
    """

    name: str
    precision: float
    recall: float
    f1: float
    gold: int
    predicted: int | None
    correct: int | None
    intervals: tuple[Interval, Interval, Interval] = (None, None, None)


@dataclass(frozen=True)
class Training:
    """What the training data have shown.

    labels (dict[str, Counter[str]]): how often each text is an entity of each type.
    words (frozenset[str]): all words, in entities and outside.
    """

    labels: dict[str, Counter[str]]
    words: frozenset[str]


def read_training(examples: Iterable[Example], task: Task = ENTITIES) -> Training:
    """Collect what the references of training data hold.

    examples (Iterable[Example]): the training data.
    task (Task): which annotation to collect.
    RETURNS (Training): their entities and words.
    RAISES (ValueError): there is no entity.
    """
    labels: dict[str, Counter[str]] = {}
    words: set[str] = set()
    for eg in examples:
        words.update(token.text for token in eg.reference)
        if task.is_annotated(eg.reference):
            for span in task.spans(eg.reference):
                text = " ".join(token.text for token in span)
                labels.setdefault(text, Counter())[type_of(span)] += 1
    if not labels:
        raise ValueError(
            f"the training data hold no {task.name} ({task.place}): check --train and --train-split"
        )
    return Training(labels, frozenset(words))


def scores_of(names: Sequence[str], counts: np.ndarray) -> list[Score]:
    """Compute scores and their intervals from counts per document.

    names (Sequence[str]): what the counts are of, in their order.
    counts (ndarray): gold, predicted and correct entities, (n_docs, n_names, 3).
    RETURNS (list[Score]): of those that occur on either side.
    """
    sums = counts.sum(0).tolist()
    intervals = intervals_of(counts, per_type, len(names))
    return [
        score_of(name, Counts(*own), interval)
        for name, own, interval in zip(names, sums, intervals, strict=True)
        if any(own)
    ]


def score_of(
    name: str, counts: Counts, intervals: tuple[Interval, Interval, Interval] = (None, None, None)
) -> Score:
    """Give the scores of summed counts.

    name (str): what they are of.
    counts (Counts): the counts.
    intervals (tuple[Interval, Interval, Interval]): see `Score`.
    RETURNS (Score): the scores.
    """
    return Score(
        name,
        counts.precision,
        counts.recall,
        counts.f1,
        counts.gold,
        counts.predicted,
        counts.correct,
        intervals,
    )


def intervals_of(
    counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], n_rows: int
) -> list[tuple[Interval, Interval, Interval]]:
    """Compute intervals of precision, recall and F1, where there are documents to resample.

    counts (ndarray): counts per document, (n_docs, n_types, 3).
    statistic (Statistic): to rows of precision, recall and F1, (n_samples, n_rows, 3).
    n_rows (int): how many rows that are.
    RETURNS (list[tuple[Interval, Interval, Interval]]): for each row.
    """
    if len(counts) < 2:
        return [(None, None, None)] * n_rows
    low, high = bootstrap_interval(counts, statistic)
    ends = np.stack([low, high], -1).reshape(n_rows, 3, 2).tolist()
    return [(_known(row[0]), _known(row[1]), _known(row[2])) for row in ends]


def count_slices(docs: Sequence[MatchedDoc], n_slices: int, slice_of: Slice) -> np.ndarray:
    """Count the entities of each document by the slice they belong to.

    docs (Sequence[MatchedDoc]): the documents.
    n_slices (int): how many slices there are.
    slice_of (Slice): the slice of an entity. A predicted entity is sorted by what it is itself, so
        of a slice by length, precision is that of predictions of this length.
    RETURNS (ndarray): gold, predicted and correct entities, int64 (n_docs, n_slices, 3).
    """
    counts = np.zeros((len(docs), n_slices, 3), dtype=np.int64)
    for row, doc in zip(counts, docs, strict=True):
        for match in doc.matches:
            if match.gold is not None:
                own = slice_of(doc, match.gold)
                row[own, 0] += 1
                row[own, 2] += match.kind == "correct"
            if match.predicted is not None:
                row[slice_of(doc, match.predicted), 1] += 1
    return counts


def range_names(starts: Sequence[int]) -> list[str]:
    """Name ranges of whole numbers.

    starts (Sequence[int]): where each begins; the last has no end.
    RETURNS (list[str]): such as "1", "2 to 4" and "5 and more".
    """
    ends = [start - 1 for start in starts[1:]]
    names = [
        str(start) if start == end else f"{start} to {end}"
        for start, end in zip(starts, ends, strict=False)
    ]
    return [*names, f"{starts[-1]} and more"]


def by_length(doc: MatchedDoc, mention: Mention) -> int:
    """Sort by the entity's number of tokens: a `Slice` of LENGTHS."""
    return _range(LENGTHS, mention.end - mention.start)


def by_sentence_length(doc: MatchedDoc, mention: Mention) -> int:
    """Sort by the tokens of the sentence it begins in: a `Slice` of SENTENCE_LENGTHS."""
    number = _sentence_number(doc, mention)
    end = doc.starts[number] if number < len(doc.starts) else len(doc.words)
    return _range(SENTENCE_LENGTHS, end - doc.starts[number - 1])


def by_sentence_number(before: Sequence[int]) -> Slice:
    """Sort by the sentence of the document it begins in: make a `Slice` of SENTENCE_NUMBERS.

    before (Sequence[int]): of each Doc, how many sentences of its document come before it.
    RETURNS (Slice): the slice.
    """

    def slice_of(doc: MatchedDoc, mention: Mention) -> int:
        return _range(SENTENCE_NUMBERS, before[doc.number - 1] + _sentence_number(doc, mention))

    return slice_of


def by_novelty(training: Training) -> Slice:
    """Sort by what training has shown of an entity: make a `Slice` of NOVELTY.

    Texts and words are compared as they are written. An entity is seen if its whole text is one in
    the training data; else its words tell, which are seen if they occur anywhere in them.

    training (Training): the training data.
    RETURNS (Slice): the slice.
    """

    def slice_of(doc: MatchedDoc, mention: Mention) -> int:
        seen_labels = training.labels.get(mention.text)
        if seen_labels is not None:
            return 0 if mention.label in seen_labels else 1
        seen = [word in training.words for word in doc.words[mention.start : mention.end]]
        if all(seen):
            return 2
        return 3 if any(seen) else 4

    return slice_of


def _known(ends: Sequence[float]) -> Interval:
    low, high = ends
    return (low, high) if low < high else None  # NaN is not


def _range(starts: Sequence[int], value: int) -> int:
    return max(0, bisect_right(starts, value) - 1)


def _sentence_number(doc: MatchedDoc, mention: Mention) -> int:
    return bisect_right(doc.starts, mention.start)  # from 1
