"""Compute scores for slices of the entities: by type, length, position or novelty."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from spacy.training import Example

from ..errors import DataError
from ..scoring.scoring import Counts, counted_label
from ..tasks import ENTITIES, Task
from .matching import MatchedDoc, Mention
from .resampling import Statistic, bootstrap_interval, per_type

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
"""Maps a Doc and one of its entities to the number of the entity's slice, from 0."""


@dataclass(frozen=True)
class Score:
    """Precision, recall and F1 with their intervals.

    name (str): the name of the type or slice.
    precision, recall, f1 (float): the scores, from 0 to 1.
    gold (int): number of gold entities.
    predicted, correct (int | None): number of predicted and of correct entities; `None` for an
        average over types.
    intervals (tuple[Interval, ...]): the 95 % bootstrap interval of each score, see `resampling`.
        `None` if there is only one document, or if both ends of the interval are equal. Equal ends
        show that there are few entities, not that the score is certain.
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
    """The entities and words of the training data.

    labels (dict[str, Counter[str]]): for each text, how often it is an entity of each type.
    words (frozenset[str]): all words, inside and outside entities.
    """

    labels: dict[str, Counter[str]]
    words: frozenset[str]


def read_training(examples: Iterable[Example], task: Task = ENTITIES) -> Training:
    """Collect the entities and words of training data.

    examples (Iterable[Example]): the training data.
    task (Task): the task whose annotation is collected.
    RETURNS (Training): the entities and words of the references.
    RAISES (ValueError): there are no entities.
    """
    labels: dict[str, Counter[str]] = {}
    words: set[str] = set()
    for eg in examples:
        words.update(token.text for token in eg.reference)
        if task.is_annotated(eg.reference):
            for span in task.spans(eg.reference):
                text = " ".join(token.text for token in span)
                labels.setdefault(text, Counter())[counted_label(span)] += 1
    if not labels:
        raise DataError(
            f"the training data have no {task.name} ({task.place}): check `train` and `train_split`"
        )
    return Training(labels, frozenset(words))


def scores_of(names: Sequence[str], counts: np.ndarray) -> list[Score]:
    """Compute scores and their intervals from counts per document.

    names (Sequence[str]): the names of the types or slices.
    counts (ndarray): gold, predicted and correct entities, int64 (n_docs, n_names, 3).
    RETURNS (list[Score]): the scores of each name with gold or predicted entities.
    """
    sums = counts.sum(0).tolist()
    intervals = intervals_of(counts, per_type, len(names))
    return [
        score_of(name, Counts(*row), interval)
        for name, row, interval in zip(names, sums, intervals, strict=True)
        if any(row)
    ]


def score_of(name: str, counts: Counts, intervals: tuple[Interval, Interval, Interval]) -> Score:
    """Make a `Score` of summed counts.

    name (str): the name of the type or slice.
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
    counts: np.ndarray, statistic: Statistic, n_rows: int
) -> list[tuple[Interval, Interval, Interval]]:
    """Compute intervals of precision, recall and F1.

    counts (ndarray): counts per document, int64 (n_docs, n_types, 3).
    statistic (Statistic): returns rows of precision, recall and F1, (n_samples, n_rows, 3).
    n_rows (int): number of rows.
    RETURNS (list[tuple[Interval, Interval, Interval]]): the intervals of each row; `None` if there
        are fewer than two documents, or if both ends are equal.
    """
    if len(counts) < 2:
        return [(None, None, None)] * n_rows
    low, high = bootstrap_interval(counts, statistic)
    ends = np.stack([low, high], -1).reshape(n_rows, 3, 2).tolist()
    return [(_known(row[0]), _known(row[1]), _known(row[2])) for row in ends]


def count_slices(docs: Sequence[MatchedDoc], n_slices: int, slice_of: Slice) -> np.ndarray:
    """Count the entities of each document by slice.

    docs (Sequence[MatchedDoc]): the Docs.
    n_slices (int): number of slices.
    slice_of (Slice): returns the slice of an entity. A predicted entity is sorted by its own
        properties. So the precision of a slice by length is that of predictions with this length.
    RETURNS (ndarray): gold, predicted and correct entities, int64 (n_docs, n_slices, 3).
    """
    counts = np.zeros((len(docs), n_slices, 3), dtype=np.int64)
    for row, doc in zip(counts, docs, strict=True):
        for match in doc.matches:
            if match.gold is not None:
                slice_number = slice_of(doc, match.gold)
                row[slice_number, 0] += 1
                row[slice_number, 2] += match.kind == "correct"
            if match.predicted is not None:
                row[slice_of(doc, match.predicted), 1] += 1
    return counts


def range_names(starts: Sequence[int]) -> list[str]:
    """Name ranges of whole numbers.

    starts (Sequence[int]): the first number of each range; the last range has no end.
    RETURNS (list[str]): the names, such as "1", "2 to 4" and "5 and more".
    """
    ends = [start - 1 for start in starts[1:]]
    names = [
        str(start) if start == end else f"{start} to {end}"
        for start, end in zip(starts, ends, strict=False)
    ]
    return [*names, f"{starts[-1]} and more"]


def by_length(doc: MatchedDoc, mention: Mention) -> int:
    """Return the slice by number of tokens: a `Slice` of LENGTHS."""
    return _range(LENGTHS, mention.end - mention.start)


def by_sentence_length(doc: MatchedDoc, mention: Mention) -> int:
    """Return the slice by the length of the first sentence: a `Slice` of SENTENCE_LENGTHS."""
    number = _sentence_number(doc, mention)
    end = doc.starts[number] if number < len(doc.starts) else len(doc.words)
    return _range(SENTENCE_LENGTHS, end - doc.starts[number - 1])


def by_sentence_number(before: Sequence[int]) -> Slice:
    """Make a `Slice` of SENTENCE_NUMBERS, by the position of the sentence in its document.

    before (Sequence[int]): for each Doc, the number of sentences of its document before it.
    RETURNS (Slice): the slice.
    """

    def slice_of(doc: MatchedDoc, mention: Mention) -> int:
        return _range(SENTENCE_NUMBERS, before[doc.number - 1] + _sentence_number(doc, mention))

    return slice_of


def by_novelty(training: Training) -> Slice:
    """Make a `Slice` of NOVELTY, by what the training data have of an entity.

    Texts and words are compared exactly, including case. An entity is seen if its whole text is an
    entity in the training data. Otherwise it is sorted by its words. A word is seen if it occurs
    anywhere in the training data.

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
    return (low, high) if low < high else None  # False for NaN


def _range(starts: Sequence[int], value: int) -> int:
    return max(0, bisect_right(starts, value) - 1)


def _sentence_number(doc: MatchedDoc, mention: Mention) -> int:
    return bisect_right(doc.starts, mention.start)  # from 1
