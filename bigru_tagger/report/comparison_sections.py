"""What a report says of two systems: numbers become tables and sentences."""

from collections.abc import Sequence

from .blocks import Block, Cell, Paragraph, Piece, ReadingList, Section, Table
from .comparison_text import (
    DIFFERENCE_HEADER,
    OVERLAP_HEADER,
    compared_layers,
    difference_cells,
    difference_rows,
    explain,
    overlap_rows,
)
from .system_comparison import Disagreement, LayerComparison, SystemComparison, TypedSpan


def comparison_sections(comparison: SystemComparison) -> list[Section]:
    """Write up a comparison.

    comparison (SystemComparison): the numbers.
    RETURNS (list[Section]): a section for entities, chunks and tags each, as far as there are any.
    """
    layers = compared_layers(comparison)
    return [
        Section(
            f"{name}-against",
            f"A against B: {name}" if len(layers) > 1 else "A against B",
            _blocks(comparison, name, layer),
        )
        for name, layer in layers
    ]


def comparison_facts(comparison: SystemComparison) -> list[tuple[str, Cell]]:
    """Name the numbers of a comparison that matter most.

    comparison (SystemComparison): the numbers.
    RETURNS (list[tuple[str, Cell]]): the differences of the micro-averaged F1.
    """
    layers = compared_layers(comparison)
    facts = []
    for name, layer in layers:
        *_, difference, interval, p = difference_cells(layer.micro["f1"])
        title = "F1" if len(layers) == 1 else f"F1 of {name}"
        if name == "tags":
            title = "tag accuracy"
        facts.append((f"{title}, A − B", Cell(difference, f"{interval} p {p}" if p else "")))
    return facts


def _blocks(comparison: SystemComparison, name: str, layer: LayerComparison) -> list[Block]:
    types = _types(comparison, name, layer)
    rows = [tuple(map(Cell, row)) for row in difference_rows(layer, types)]
    counts = [tuple(map(Cell, row)) for row in overlap_rows(layer)]
    blocks: list[Block] = [
        Paragraph(_systems(comparison)),
        Table("", DIFFERENCE_HEADER, rows, n_names=2),
        Paragraph(explain(comparison, layer), small=True),
        Table(f"{name.capitalize()} that both have, or one alone", OVERLAP_HEADER, counts),
    ]
    for own, found in (("A", layer.only_a), ("B", layer.only_b)):
        if found:
            alone = name == "tags"  # which all tokens have
            sentences = [_readings(disagreement, alone=alone) for disagreement in found]
            blocks.append(ReadingList(f"Only {own} gets right", sentences, types))
    return blocks


def _systems(comparison: SystemComparison) -> str:
    parts = [
        f"{name} is {system.model}{_speed(system.words_per_second)}."
        for name, system in (("A", comparison.a), ("B", comparison.b))
    ]
    return " ".join([*parts, "All else in this report is about A."])


def _speed(words_per_second: float | None) -> str:
    return "" if words_per_second is None else f", {words_per_second:,.0f} words/s"


def _types(comparison: SystemComparison, name: str, layer: LayerComparison) -> list[str]:
    # In the order of the report's other sections, and so in the same colours.
    report = getattr(comparison.a, name)
    n_gold = {label: counts.gold for label, counts in report.default.items()}
    return sorted(layer.per_type, key=lambda label: (-n_gold.get(label, -1), label))


def _readings(disagreement: Disagreement, *, alone: bool) -> dict[str, list[Piece]]:
    # Who reads all that is shown alike shares a line.
    _, first, last = disagreement.entity
    readers: dict[tuple[TypedSpan, ...], list[str]] = {}
    for name in ("gold", "a", "b"):
        shown = tuple(
            span
            for span in getattr(disagreement, name)
            if not alone or (span[1] < last and span[2] > first)
        )
        readers.setdefault(shown, []).append(name)
    return {
        ", ".join(name if name == "gold" else name.upper() for name in names): _pieces(
            disagreement, spans
        )
        for spans, names in readers.items()
    }


def _pieces(disagreement: Disagreement, spans: Sequence[TypedSpan]) -> list[Piece]:
    _, first, last = disagreement.entity
    pieces, done = [], 0
    for label, start, end in spans:
        pieces.append(Piece(" ".join([*disagreement.words[done:start], ""])))
        text = " ".join(disagreement.words[start:end])
        pieces += [Piece(text, label, start < last and end > first), Piece(" ")]
        done = end
    return [*pieces, Piece(" ".join(disagreement.words[done:]))]
