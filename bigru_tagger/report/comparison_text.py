"""Render the comparison of two systems as text."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import fill

from wasabi.tables import table

from ..scoring.run import DIGITS
from .cells import MOST_TYPES, percent, signed
from .resampling import CONFIDENCE
from .system_comparison import (
    SCORES,
    Difference,
    Disagreement,
    SystemComparison,
    TaskComparison,
    TypedSpan,
)

_WIDTH = 100
_SHOWN = 10  # entities of each list in the text
_NEIGHBOURS = 8  # words on each side of an entity in the text
_SCORE_NAMES = ("precision", "recall", "F1")


def difference_header(names: tuple[str, str]) -> tuple[str, ...]:
    """Name the columns of `difference_rows`.

    names (tuple[str, str]): the names of the systems.
    RETURNS (tuple[str, ...]): the header.
    """
    return ("", "", *names, "difference", f"{100 * CONFIDENCE:.0f} % interval", "p")


def overlap_header(names: tuple[str, str]) -> tuple[str, ...]:
    """Name the columns of `overlap_rows`.

    names (tuple[str, str]): the names of the systems.
    RETURNS (tuple[str, ...]): the header.
    """
    return ("", "all", "both", *(f"only {name}" for name in names), "neither")


def render_comparison(comparison: SystemComparison) -> str:
    """Render a comparison as text.

    comparison (SystemComparison): the numbers.
    RETURNS (str): the text that the command prints after the report of the first system.
    """
    names = comparison.names
    systems = [
        (name, system.model, "" if speed is None else f"{speed:.0f} words/s")
        for name, system in zip(names, (comparison.a, comparison.b), strict=True)
        for speed in [system.words_per_second]
    ]
    blocks = [_table(systems, 2)]
    for name, numbers in comparison.tasks.items():
        blocks += [
            f"{name.capitalize()}, {' against '.join(names)} (default mode, in percent)",
            _table(difference_rows(numbers, numbers.per_type), 2, difference_header(names)),
            _table(overlap_rows(numbers), 1, overlap_header(names)),
            fill(explain(comparison, numbers), _WIDTH),
        ]
        a, b = names
        blocks += _render_found(a, b, "b", numbers.only_a)
        blocks += _render_found(b, a, "a", numbers.only_b)
    return "\n\n".join(blocks)


def difference_rows(numbers: TaskComparison, types: Iterable[str]) -> list[tuple[str, ...]]:
    """Format scores and their differences in percent, for a table with `difference_header`.

    numbers (TaskComparison): the numbers.
    types (Iterable[str]): the types, in the order of the rows.
    RETURNS (list[tuple[str, ...]]): three rows for all types together, then three rows per type. If
        there are more than MOST_TYPES types, each has a row for F1 only.
    """
    of_types = [(label, numbers.per_type[label]) for label in types]
    named = list(zip(SCORES, _SCORE_NAMES, strict=True))
    shown = named if len(of_types) <= MOST_TYPES else named[-1:]
    return [
        ("" if i else label, name, *difference_cells(scores[score]))
        for label, scores in (("all", numbers.micro), *of_types)
        for i, (score, name) in enumerate(named if scores is numbers.micro else shown)
    ]


def difference_cells(difference: Difference) -> tuple[str, str, str, str, str]:
    """Format a score of both systems in percent.

    difference (Difference): the score.
    RETURNS (tuple[str, str, str, str, str]): both scores, their difference, its interval, and p;
        "" for a value that is not defined.
    """
    value, interval, p = difference.difference, difference.interval, difference.p
    return (
        "" if difference.a is None else percent(difference.a),
        "" if difference.b is None else percent(difference.b),
        "" if value is None else signed(value),
        "" if interval is None else f"[{signed(interval[0])}, {signed(interval[1])}]",
        "" if p is None else f"{p:.{DIGITS}f}",
    )


def overlap_rows(numbers: TaskComparison) -> list[tuple[str, ...]]:
    """Format the counts of shared entities, for a table with `overlap_header`.

    numbers (TaskComparison): the numbers.
    RETURNS (list[tuple[str, ...]]): a row for gold entities, and a row for wrong predictions.
    """
    rows = []
    for name, overlap in (("gold, found by", numbers.gold), ("wrong, predicted by", numbers.wrong)):
        counts = (overlap.both, overlap.only_a, overlap.only_b, overlap.neither)
        rows.append((name, *(f"{n:,}" for n in (sum(counts), *counts))))
    rows[1] = (*rows[1][:-1], "")  # "neither" has no meaning for predictions
    return rows


def explain(comparison: SystemComparison, numbers: TaskComparison) -> str:
    """Explain the intervals and p-values, and their limits.

    comparison (SystemComparison): the numbers of resamples and trials.
    numbers (TaskComparison): the number of documents.
    RETURNS (str): the sentences.
    """
    if numbers.documents < 2:
        return (
            "There are no intervals and p-values, because they resample documents and the data "
            "are one document."
        )
    notes = ""
    if numbers.documents == numbers.sentences:
        notes = (
            " As far as the gold data show, each document is one sentence. If the sentences come "
            "from longer documents, the true intervals are wider and the true p is higher, because "
            "sentences of one document are alike."
        )
    # Swapping no document and swapping all documents are always as extreme as the observed
    # difference: 2 of the 2**n ways.
    least = 2 * 0.5**numbers.documents
    if least > 1 / (1 + comparison.n_trials):
        notes += (
            f" With {numbers.documents} documents, p is hardly ever below {least:.2g}, even if the "
            "difference is large."
        )
    return (
        f"Intervals: {comparison.n_resamples:,} paired bootstrap resamples of "
        f"{numbers.documents:,} documents. p: two-sided, from {comparison.n_trials:,} trials of "
        "paired approximate randomisation over the documents, for each number separately."
        f"{notes} Intervals and p apply to these two trained systems on these data. To compare two "
        "ways of training, train several seeds of each (scripts/replicate)."
    )


def _overlapping(disagreement: Disagreement, spans: Sequence[TypedSpan]) -> str:
    # The type and text of all spans that overlap the entity.
    _, start, end = disagreement.entity
    overlapping = [
        f"{label} {' '.join(disagreement.words[begin:stop])}"
        for label, begin, stop in spans
        if begin < end and stop > start
    ]
    return ", ".join(overlapping) or "nothing"


def _table(rows: Sequence[Sequence[str]], n_names: int, header: Sequence[str] | None = None) -> str:
    n_numbers = len(rows[0]) - n_names
    text = table(rows, header=header, aligns=(*"l" * n_names, *"r" * n_numbers))
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _render_found(
    system: str, other: str, other_side: str, entities: Sequence[Disagreement]
) -> Iterator[str]:
    if not entities:
        return
    lines = [f"Correct only in {system} ({len(entities)}):"]
    for disagreement in entities[:_SHOWN]:
        label, start, end = disagreement.entity
        words = disagreement.words
        first, last = max(0, start - _NEIGHBOURS), end + _NEIGHBOURS
        overlapping = _overlapping(disagreement, getattr(disagreement, other_side))
        parts = (
            "…" if first else "",
            *words[first:start],
            f"[{' '.join(words[start:end])}]{label}",
            *words[end:last],
            "…" if last < len(words) else "",
        )
        lines += [f"  {' '.join(filter(None, parts))}", f"      {other}: {overlapping}"]
    if len(entities) > _SHOWN:
        lines.append(f"  and {len(entities) - _SHOWN} more; see --json or --report")
    yield "\n".join(lines)
