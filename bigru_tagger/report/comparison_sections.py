"""Sections of a report that compare two systems: numbers become tables and sentences."""

from collections.abc import Sequence

from ..tasks import Task
from .blocks import Block, Cell, Paragraph, Piece, Section, Table, VersionList
from .cells import score_name
from .comparison_text import (
    DIFFERENCE_HEADER,
    OVERLAP_HEADER,
    difference_cells,
    difference_rows,
    explain,
    overlap_rows,
)
from .system_comparison import Disagreement, SystemComparison, TypedSpan


def comparison_sections(comparison: SystemComparison) -> list[Section]:
    """Write up a comparison.

    comparison (SystemComparison): the numbers.
    RETURNS (list[Section]): a section for each task.
    """
    return [
        Section(
            f"{task.name}-against",
            f"A against B: {task.name}" if len(comparison.tasks) > 1 else "A against B",
            _blocks(comparison, task),
        )
        for task in _tasks(comparison)
    ]


def comparison_facts(comparison: SystemComparison) -> list[tuple[str, Cell]]:
    """Name the numbers of a comparison that matter most.

    comparison (SystemComparison): the numbers.
    RETURNS (list[tuple[str, Cell]]): the differences of the micro-averaged F1.
    """
    facts = []
    for task in _tasks(comparison):
        *_, difference, interval, p = difference_cells(comparison.tasks[task.name].micro["f1"])
        title = score_name(task, alone=len(comparison.tasks) == 1)
        facts.append((f"{title}, A − B", Cell(difference, f"{interval} p {p}" if p else "")))
    return facts


def _tasks(comparison: SystemComparison) -> list[Task]:
    return [task for task in comparison.a.tasks if task.name in comparison.tasks]


def _blocks(comparison: SystemComparison, task: Task) -> list[Block]:
    own = comparison.tasks[task.name]
    types = _types(comparison, task)
    rows = [tuple(map(Cell, row)) for row in difference_rows(own, types)]
    counts = [tuple(map(Cell, row)) for row in overlap_rows(own)]
    blocks: list[Block] = [
        Paragraph(_systems(comparison)),
        Table("", DIFFERENCE_HEADER, rows, n_names=2),
        Paragraph(explain(comparison, own), small=True),
        Table(f"{task.name.capitalize()} that both have, or one alone", OVERLAP_HEADER, counts),
    ]
    for name, found in (("A", own.only_a), ("B", own.only_b)):
        if found:
            # All tokens have tags, so only that of the token in question is shown.
            sentences = [_versions(disagreement, alone=task.per_token) for disagreement in found]
            blocks.append(VersionList(f"Only {name} gets right", sentences, types))
    return blocks


def _systems(comparison: SystemComparison) -> str:
    parts = [
        f"{name} is {system.model}{_speed(system.words_per_second)}."
        for name, system in (("A", comparison.a), ("B", comparison.b))
    ]
    return " ".join([*parts, "All else in this report is about A."])


def _speed(words_per_second: float | None) -> str:
    return "" if words_per_second is None else f", {words_per_second:,.0f} words/s"


def _types(comparison: SystemComparison, task: Task) -> list[str]:
    # In the order of the report's other sections, and so in the same colours.
    report = comparison.a.scores[task.name]
    n_gold = {label: counts.gold for label, counts in report.default.items()}
    per_type = comparison.tasks[task.name].per_type
    return sorted(per_type, key=lambda label: (-n_gold.get(label, -1), label))


def _versions(disagreement: Disagreement, *, alone: bool) -> dict[str, list[Piece]]:
    # Those whose spans are the same share a line.
    _, first, last = disagreement.entity
    owners: dict[tuple[TypedSpan, ...], list[str]] = {}
    for name in ("gold", "a", "b"):
        shown = tuple(
            span
            for span in getattr(disagreement, name)
            if not alone or (span[1] < last and span[2] > first)
        )
        owners.setdefault(shown, []).append(name)
    return {
        ", ".join(name if name == "gold" else name.upper() for name in names): _pieces(
            disagreement, spans
        )
        for spans, names in owners.items()
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
