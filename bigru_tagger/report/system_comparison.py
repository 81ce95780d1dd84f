"""Compare two systems on the same gold data: differences, intervals, p-values, entities."""

from bisect import bisect_left
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import DataError
from ..schemes import OUTSIDE, entity_spans, label_of
from ..scoring.run import Evaluation
from ..scoring.scoring import TaggedDoc, count_documents
from ..tasks import TASKS
from .resampling import (
    CONFIDENCE,
    N_RESAMPLES,
    N_TRIALS,
    bootstrap_difference,
    document_ends,
    micro,
    per_type,
    randomization_test,
)
from .tagged_text import TaggedText, join_examples

SCORES = ("precision", "recall", "f1")
_CONTEXT = 50  # most tokens to show on each side of an entity

TypedSpan: TypeAlias = tuple[str, int, int]
"""Label, first token, and the token after the last, as in `entity_spans`."""


@dataclass(frozen=True)
class Difference:
    """A score of both systems.

    a, b (float | None): the score of each system, from 0 to 1; `None` for a type that neither the
        gold data nor the system has.
    difference (float | None): a - b.
    interval (tuple[float, float] | None): the 95 % interval of the difference, by the paired
        bootstrap over documents; `None` if there are fewer than two documents.
    p (float | None): the two-sided p of paired approximate randomisation; `None` as above.
    """

    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True)
class Overlap:
    """Number of entities that both systems have, only one of them, or neither."""

    both: int
    only_a: int
    only_b: int
    neither: int


@dataclass(frozen=True)
class Disagreement:
    """A gold entity that only one of the systems predicts with its boundaries and label.

    words (tuple[str, ...]): the sentence, or the tokens around the entity if there are no sentence
        boundaries.
    entity (TypedSpan): the entity, as positions in `words`.
    gold, a, b (tuple[TypedSpan, ...]): all entities of the gold data and of the systems in the
        sentence, as positions in `words`.
    """

    words: tuple[str, ...]
    entity: TypedSpan
    gold: tuple[TypedSpan, ...]
    a: tuple[TypedSpan, ...]
    b: tuple[TypedSpan, ...]


@dataclass(frozen=True)
class TaskComparison:
    """The comparison of one task, in seqeval's default mode.

    documents (int): number of documents that were resampled, see `document_ends`.
    sentences (int): number of sentences. A Doc without sentence boundaries counts as one.
    micro (dict[str, Difference]): the micro-averaged scores, by name of the score.
    per_type (dict[str, dict[str, Difference]]): the scores of each type, by type and name of the
        score.
    gold (Overlap): the gold entities, by the systems that find them.
    wrong (Overlap): the wrong predictions, by the systems that make them; "neither" is 0.
    only_a, only_b (tuple[Disagreement, ...]): the gold entities that only this system finds.
    """

    documents: int
    sentences: int
    micro: dict[str, Difference]
    per_type: dict[str, dict[str, Difference]]
    gold: Overlap
    wrong: Overlap
    only_a: tuple[Disagreement, ...]
    only_b: tuple[Disagreement, ...]


@dataclass(frozen=True)
class SystemComparison:
    """Two systems, scored on the same gold data.

    a, b (Evaluation): the scores of each system.
    n_resamples, n_trials, seed (int): see `bootstrap_difference` and `randomization_test`.
    tasks (dict[str, TaskComparison]): the comparison of each task that both systems have, by name,
        in the order of `TASKS`.
    """

    a: Evaluation
    b: Evaluation
    n_resamples: int
    n_trials: int
    seed: int
    tasks: dict[str, TaskComparison]

    @property
    def names(self) -> tuple[str, str]:
        """RETURNS (tuple[str, str]): short names of the systems, see `short_names`."""
        return short_names(self.a.model, self.b.model)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON-serialisable values, without the evaluations."""
        return {
            "a": self.a.model,
            "b": self.b.model,
            "words_per_second": {"a": self.a.words_per_second, "b": self.b.words_per_second},
            "confidence": CONFIDENCE,
            "n_resamples": self.n_resamples,
            "n_trials": self.n_trials,
            "seed": self.seed,
            **{name: asdict(self.tasks[name]) if name in self.tasks else None for name in TASKS},
        }


def short_names(a: str, b: str) -> tuple[str, str]:
    """Shorten the names of two systems to the parts of their paths that differ.

    a, b (str): the names, such as "output/one/model-best" and "output/two/model-best".
    RETURNS (tuple[str, str]): such as "one" and "two", at most two parts of each path; numbered if
        the names are equal.
    """
    if a == b:
        return f"{a} (1)", f"{b} (2)"
    first, second = whole = Path(a).parts, Path(b).parts
    for end in (0, -1):
        while first and second and first[end] == second[end]:
            first, second = (parts[1:] if end == 0 else parts[:-1] for parts in (first, second))
    if not first or not second:
        first, second = whole
    names = str(Path(*first[-2:])), str(Path(*second[-2:]))
    return names if names[0] != names[1] else (a, b)


def compare_systems(
    a: Evaluation,
    b: Evaluation,
    *,
    document_lengths: Sequence[int] | None = None,
    n_resamples: int = N_RESAMPLES,
    n_trials: int = N_TRIALS,
    seed: int = 0,
) -> SystemComparison:
    """Compare two systems that were scored on the same gold data.

    The systems may have read the data in different Docs, such as sentences and whole documents.

    a, b (Evaluation): the scores of each system.
    document_lengths (Sequence[int] | None): number of tokens of each document; `None` to take each
        Doc as a document.
    n_resamples, n_trials, seed: see `bootstrap_difference` and `randomization_test`.
    RETURNS (SystemComparison): the comparison.
    RAISES (ValueError): the gold data differ, or the systems have no task in common.
    """
    tasks = {
        task.name: _compare_task(
            join_examples(a.examples, task),
            join_examples(b.examples, other),
            lengths=document_lengths,
            n_resamples=n_resamples,
            n_trials=n_trials,
            seed=seed,
        )
        for task in a.tasks
        for other in b.tasks  # its key of `doc.spans` may differ
        if task.name == other.name
    }
    if not tasks:
        *names, last = TASKS
        raise DataError(
            f"There is nothing to compare: {a.model} was scored on {' and '.join(a.scores)}, "
            f"{b.model} on {' and '.join(b.scores)}. Both must predict {', '.join(names)} or "
            f"{last}"
        )
    return SystemComparison(
        a=a,
        b=b,
        n_resamples=n_resamples,
        n_trials=n_trials,
        seed=seed,
        tasks=tasks,
    )


def _check_same_gold(a: TaggedText, b: TaggedText) -> None:
    for what in ("words", "gold"):
        pairs = enumerate(zip_longest(getattr(a, what), getattr(b, what)))
        mismatch = next(((i, pair) for i, pair in pairs if pair[0] != pair[1]), None)
        if mismatch is not None:
            i, (of_a, of_b) = mismatch
            raise DataError(
                f"The systems were scored on different gold data: token {i + 1} is "
                f"{of_a!r} for A and {of_b!r} for B. Evaluate both on the same data and split"
            )


def _compare_task(
    a: TaggedText,
    b: TaggedText,
    *,
    lengths: Sequence[int] | None,
    n_resamples: int,
    n_trials: int,
    seed: int,
) -> TaskComparison:
    _check_same_gold(a, b)
    ends = document_ends([a.doc_ends, b.doc_ends], lengths)
    documents = a.documents(ends), b.documents(ends)
    differences = _compare_scores(*documents, n_resamples=n_resamples, n_trials=n_trials, seed=seed)
    return TaskComparison(
        documents=len(documents[0]),
        sentences=a.n_sentences,
        micro=differences.pop(None),
        per_type={label: row for label, row in differences.items() if label is not None},
        **_compare_spans(a, b),
    )


def _compare_scores(
    a: Sequence[TaggedDoc], b: Sequence[TaggedDoc], *, n_resamples: int, n_trials: int, seed: int
) -> dict[str | None, dict[str, Difference]]:
    """Compare scores. RETURNS: by type, `None` for all types together; then by name of score."""
    tags = chain.from_iterable(doc.gold + doc.predicted for doc in (*a, *b))
    labels = sorted({label_of(tag) for tag in tags if tag != OUTSIDE})
    counts = count_documents(a, labels), count_documents(b, labels)
    scores = _scores(counts[0].sum(0)), _scores(counts[1].sum(0))
    interval, p = np.full((2, *scores[0].shape), np.nan), np.full(scores[0].shape, np.nan)
    if len(a) > 1:
        interval = bootstrap_difference(*counts, _scores, n_resamples=n_resamples, seed=seed)
        p = randomization_test(*counts, _scores, n_trials=n_trials, seed=seed)
    return {
        label: {
            score: _difference(scores[0][i, j], scores[1][i, j], interval[:, i, j], p[i, j])
            for j, score in enumerate(SCORES)
        }
        for i, label in enumerate([None, *labels])
    }


def _scores(counts: np.ndarray) -> np.ndarray:
    # Micro averages, then each type: float64 (..., 1 + n_types, 3).
    return np.concatenate([micro(counts)[..., None, :], per_type(counts)], -2)


def _difference(a: float, b: float, interval: np.ndarray, p: float) -> Difference:
    low, high = (_known(end) for end in interval)
    difference = _known(a - b)
    return Difference(
        a=_known(a),
        b=_known(b),
        difference=difference,
        interval=None if low is None or high is None else (low, high),
        p=None if difference is None else _known(p),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _compare_spans(a: TaggedText, b: TaggedText) -> dict[str, Any]:
    """Compare the entities. RETURNS: the fields of `TaskComparison` that describe them."""
    gold = entity_spans(a.gold)
    predicted = entity_spans(a.predicted), entity_spans(b.predicted)
    right_a, right_b = (set(spans) & set(gold) for spans in predicted)
    wrong_a, wrong_b = (
        (set(spans) - set(gold))
        | {(label_of(tag), start, word) for start, word, tag in text.unaligned}
        for spans, text in zip(predicted, (a, b), strict=True)
    )
    context = _Context(a, gold, *predicted)
    only_a, only_b = right_a - right_b, right_b - right_a
    return {
        "gold": _overlap(right_a, right_b, len(gold)),
        "wrong": _overlap(wrong_a, wrong_b, len(wrong_a | wrong_b)),
        "only_a": tuple(context.around(span) for span in gold if span in only_a),
        "only_b": tuple(context.around(span) for span in gold if span in only_b),
    }


def _overlap(a: AbstractSet[Any], b: AbstractSet[Any], n: int) -> Overlap:
    return Overlap(len(a & b), len(a - b), len(b - a), n - len(a | b))


class _Context:
    """An index of the entities of the gold data and both systems, to show them in a sentence."""

    def __init__(self, text: TaggedText, *sides: Sequence[TypedSpan]) -> None:
        self.text = text
        self.sides = [(spans, [start for _, start, _ in spans]) for spans in sides]

    def around(self, entity: TypedSpan) -> Disagreement:
        label, start, end = entity
        # Show all sentences that overlapping entities touch.
        touching = [entity]
        for spans, starts in self.sides:
            # Spans of a side do not overlap, so only the last one before `start` can reach it.
            before = max(0, bisect_left(starts, start) - 1)
            touching += [
                span for span in spans[before : bisect_left(starts, end)] if span[2] > start
            ]
        first, last = self.text.sentence(
            min(span[1] for span in touching), max(span[2] for span in touching), _CONTEXT
        )
        gold, a, b = (
            tuple(
                (label, begin - first, stop - first)
                for label, begin, stop in spans[
                    bisect_left(starts, first) : bisect_left(starts, last)
                ]
                if stop <= last
            )
            for spans, starts in self.sides
        )
        return Disagreement(
            words=tuple(self.text.words[first:last]),
            entity=(label, start - first, end - first),
            gold=gold,
            a=a,
            b=b,
        )
