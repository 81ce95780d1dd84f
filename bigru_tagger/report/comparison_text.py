"""What is said of two systems."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import fill

from wasabi.tables import table

from ..scoring.run import DIGITS
from .cells import MOST_TYPES, percent
from .resampling import CONFIDENCE
from .system_comparison import (
    SCORES,
    Difference,
    Disagreement,
    LayerComparison,
    SystemComparison,
    TypedSpan,
)

_WIDTH = 100
_SHOWN = 10  # entities of each list in the text
_NEIGHBOURS = 8  # words on each side of an entity in the text
_SCORE_NAMES = ("precision", "recall", "F1")
DIFFERENCE_HEADER = ("", "", "A", "B", "A − B", f"{100 * CONFIDENCE:.0f} % interval", "p")
OVERLAP_HEADER = ("", "all", "both", "only A", "only B", "neither")


def render_comparison(comparison: SystemComparison) -> str:
    """Lay a comparison out as text.

    comparison (SystemComparison): the numbers.
    RETURNS (str): what the command prints behind the report of the first system.
    """
    systems = [
        (name, system.model, "" if speed is None else f"{speed:.0f} words/s")
        for name, system in (("A", comparison.a), ("B", comparison.b))
        for speed in [system.words_per_second]
    ]
    blocks = [_table(systems, 2)]
    for name, layer in compared_layers(comparison):
        blocks += [
            f"{name.capitalize()}, A against B (default mode, in percent)",
            _table(difference_rows(layer, layer.per_type), 2, DIFFERENCE_HEADER),
            _table(overlap_rows(layer), 1, OVERLAP_HEADER),
            fill(explain(comparison, layer), _WIDTH),
        ]
        for own, other, found in (("A", "B", layer.only_a), ("B", "A", layer.only_b)):
            blocks += _render_found(own, other, found)
    return "\n\n".join(blocks)


def compared_layers(comparison: SystemComparison) -> list[tuple[str, LayerComparison]]:
    """List what was compared.

    comparison (SystemComparison): the numbers.
    RETURNS (list[tuple[str, LayerComparison]]): entities, chunks and tags, as far as there are any.
    """
    layers = (
        ("entities", comparison.entities),
        ("chunks", comparison.chunks),
        ("tags", comparison.tags),
    )
    return [(name, layer) for name, layer in layers if layer is not None]


def difference_rows(layer: LayerComparison, types: Iterable[str]) -> list[tuple[str, ...]]:
    """Lay scores and their differences out in percent, under DIFFERENCE_HEADER.

    layer (LayerComparison): the numbers.
    types (Iterable[str]): its types, in the order to show them in.
    RETURNS (list[tuple[str, ...]]): three rows for all types together, and for each; of many types
        only the F1.
    """
    of_types = [(label, layer.per_type[label]) for label in types]
    named = list(zip(SCORES, _SCORE_NAMES, strict=True))
    shown = named if len(of_types) <= MOST_TYPES else named[-1:]
    return [
        ("" if i else label, name, *difference_cells(scores[score]))
        for label, scores in (("all", layer.micro), *of_types)
        for i, (score, name) in enumerate(named if scores is layer.micro else shown)
    ]


def difference_cells(difference: Difference) -> tuple[str, str, str, str, str]:
    """Write a score of both systems in percent.

    difference (Difference): the score.
    RETURNS (tuple[str, str, str, str, str]): A, B, A − B, its interval, and p; nothing for what has
        no meaning.
    """
    value, interval, p = difference.difference, difference.interval, difference.p
    return (
        "" if difference.a is None else percent(difference.a),
        "" if difference.b is None else percent(difference.b),
        "" if value is None else _signed(value),
        "" if interval is None else f"[{_signed(interval[0])}, {_signed(interval[1])}]",
        "" if p is None else f"{p:.{DIGITS}f}",
    )


def overlap_rows(layer: LayerComparison) -> list[tuple[str, ...]]:
    """Lay the counts of what both have out under OVERLAP_HEADER.

    layer (LayerComparison): the numbers.
    RETURNS (list[tuple[str, ...]]): a row for gold entities, and one for predictions that are none.
    """
    rows = []
    for name, overlap in (("gold, found by", layer.gold), ("wrong, predicted by", layer.wrong)):
        counts = (overlap.both, overlap.only_a, overlap.only_b, overlap.neither)
        rows.append((name, *(f"{n:,}" for n in (sum(counts), *counts))))
    rows[1] = (*rows[1][:-1], "")  # what nobody predicted is nothing
    return rows


def explain(comparison: SystemComparison, layer: LayerComparison) -> str:
    """Say what intervals and p-values mean, and what they do not.

    comparison (SystemComparison): how they were computed.
    layer (LayerComparison): on how many documents.
    RETURNS (str): sentences.
    """
    if layer.documents < 2:
        return (
            "The data are one document, so there is nothing to resample, and no interval and no p."
        )
    notes = ""
    if layer.documents == layer.sentences:
        notes = (
            " These documents are single sentences, as far as the data tell. Sentences of one "
            "document are alike, so the true intervals are wider and the true p higher."
        )
    # Of all ways to swap documents, none at all and all of them are as extreme as what was found.
    least = 2 * 0.5**layer.documents
    if least > 1 / (1 + comparison.n_trials):
        notes += (
            f" With so few documents, p is hardly ever below {least:.2g}, however large the "
            "difference."
        )
    return (
        f"Intervals: {comparison.n_resamples:,} bootstrap resamples of {layer.documents:,} "
        f"documents, the same ones for both. p: {comparison.n_trials:,} trials of paired "
        "approximate randomisation over them, two-sided, for each number by itself."
        f"{notes} Both are about these two systems on these data. Whether one way of training is "
        "better than another takes several seeds of each (scripts/replicate)."
    )


def other_reading(disagreement: Disagreement, spans: Sequence[TypedSpan]) -> str:
    """Say what the other system makes of an entity.

    disagreement (Disagreement): the entity.
    spans (Sequence[TypedSpan]): what the other system has in its sentence.
    RETURNS (str): the type and text of all that overlaps the entity, or "nothing".
    """
    _, start, end = disagreement.entity
    found = [
        f"{label} {' '.join(disagreement.words[begin:stop])}"
        for label, begin, stop in spans
        if begin < end and stop > start
    ]
    return ", ".join(found) or "nothing"


def _signed(value: float) -> str:
    return f"{100 * value:+.{DIGITS - 2}f}".replace("-", "−")


def _table(rows: Sequence[Sequence[str]], n_names: int, header: Sequence[str] | None = None) -> str:
    n_numbers = len(rows[0]) - n_names
    text = table(rows, header=header, aligns=(*"l" * n_names, *"r" * n_numbers))
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _render_found(own: str, other: str, found: Sequence[Disagreement]) -> Iterator[str]:
    if not found:
        return
    lines = [f"Only {own} gets right ({len(found)}):"]
    for disagreement in found[:_SHOWN]:
        label, start, end = disagreement.entity
        words = disagreement.words
        first, last = max(0, start - _NEIGHBOURS), end + _NEIGHBOURS
        reading = other_reading(disagreement, getattr(disagreement, other.lower()))
        parts = (
            "…" if first else "",
            *words[first:start],
            f"[{' '.join(words[start:end])}]{label}",
            *words[end:last],
            "…" if last < len(words) else "",
        )
        lines += [f"  {' '.join(filter(None, parts))}", f"      {other}: {reading}"]
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more, which --json and --report have")
    yield "\n".join(lines)
