"""Make the sections of a report that compare two systems."""

from collections.abc import Sequence

from ..tasks import Task
from .blocks import Block, Cell, Paragraph, Piece, Section, Table, VersionList
from .cells import score_name
from .comparison_text import (
    difference_cells,
    difference_header,
    difference_rows,
    explain,
    overlap_header,
    overlap_rows,
)
from .system_comparison import Disagreement, SystemComparison, TypedSpan


def comparison_sections(comparison: SystemComparison) -> list[Section]:
    """Make the sections of a comparison.

    comparison (SystemComparison): the numbers.
    RETURNS (list[Section]): one section per task.
    """
    title = " against ".join(comparison.names)
    return [
        Section(
            f"{task.name}-against",
            f"{title}: {task.name}" if len(comparison.tasks) > 1 else title,
            _blocks(comparison, task),
        )
        for task in _tasks(comparison)
    ]


def comparison_facts(comparison: SystemComparison) -> list[tuple[str, Cell]]:
    """List the most important numbers of a comparison.

    comparison (SystemComparison): the numbers.
    RETURNS (list[tuple[str, Cell]]): the difference of the micro-averaged F1 of each task.
    """
    facts = []
    for task in _tasks(comparison):
        *_, difference, interval, p = difference_cells(comparison.tasks[task.name].micro["f1"])
        title = score_name(task, only_task=len(comparison.tasks) == 1)
        facts.append(
            (
                f"{title}, {' − '.join(comparison.names)}",
                Cell(difference, f"{interval} p {p}" if p else ""),
            )
        )
    return facts


def _tasks(comparison: SystemComparison) -> list[Task]:
    return [task for task in comparison.a.tasks if task.name in comparison.tasks]


def _blocks(comparison: SystemComparison, task: Task) -> list[Block]:
    numbers = comparison.tasks[task.name]
    types = _types(comparison, task)
    rows = [tuple(map(Cell, row)) for row in difference_rows(numbers, types)]
    counts = [tuple(map(Cell, row)) for row in overlap_rows(numbers)]
    blocks: list[Block] = [
        Paragraph(_lead(comparison, task)),
        Paragraph(_systems(comparison), small=True),
        Table("", difference_header(comparison.names), rows, n_names=2),
        Paragraph(explain(comparison, numbers), small=True),
        Table(
            f"{task.name.capitalize()} by the systems that predict them",
            overlap_header(comparison.names),
            counts,
        ),
    ]
    for name, entities in zip(comparison.names, (numbers.only_a, numbers.only_b), strict=True):
        if entities:
            # Every token has a tag, so only the tag of the token in question is shown.
            sentences = [
                _versions(disagreement, comparison.names, only_entity=task.per_token)
                for disagreement in entities
            ]
            blocks.append(VersionList(f"Correct only in {name}", sentences, types))
    return blocks


def _lead(comparison: SystemComparison, task: Task) -> str:
    cells = difference_cells(comparison.tasks[task.name].micro["f1"])
    (a, b), (of_a, of_b, difference, interval, p) = comparison.names, cells
    score = "accuracy" if task.per_token else "F1"
    text = (
        f"The {score} of {a} is {of_a}, that of {b} is {of_b}: a difference of {difference} points"
    )
    return f"{text}, with the 95 % interval {interval} and p = {p}." if p else f"{text}."


def _systems(comparison: SystemComparison) -> str:
    parts = [
        f"{name} is {system.model}{_speed(system.words_per_second)}."
        for name, system in zip(comparison.names, (comparison.a, comparison.b), strict=True)
        if name != system.model or system.words_per_second is not None
    ]
    return " ".join([*parts, f"The other sections of this report describe {comparison.names[0]}."])


def _speed(words_per_second: float | None) -> str:
    return "" if words_per_second is None else f", {words_per_second:,.0f} words/s"


def _types(comparison: SystemComparison, task: Task) -> list[str]:
    # The order of the other sections, so that each type has the same colour everywhere.
    report = comparison.a.scores[task.name]
    n_gold = {label: counts.gold for label, counts in report.default.items()}
    per_type = comparison.tasks[task.name].per_type
    return sorted(per_type, key=lambda label: (-n_gold.get(label, -1), label))


def _versions(
    disagreement: Disagreement, names: tuple[str, str], *, only_entity: bool
) -> dict[str, list[Piece]]:
    # Sources with the same spans share a line.
    _, first, last = disagreement.entity
    sources: dict[tuple[TypedSpan, ...], list[str]] = {}
    for side, name in (("gold", "gold"), ("a", names[0]), ("b", names[1])):
        shown = tuple(
            span
            for span in getattr(disagreement, side)
            if not only_entity or (span[1] < last and span[2] > first)
        )
        sources.setdefault(shown, []).append(name)
    return {", ".join(sharing): _pieces(disagreement, spans) for spans, sharing in sources.items()}


def _pieces(disagreement: Disagreement, spans: Sequence[TypedSpan]) -> list[Piece]:
    _, first, last = disagreement.entity
    pieces, done = [], 0
    for label, start, end in spans:
        pieces.append(Piece(" ".join([*disagreement.words[done:start], ""])))
        text = " ".join(disagreement.words[start:end])
        pieces += [Piece(text, label, start < last and end > first), Piece(" ")]
        done = end
    return [*pieces, Piece(" ".join(disagreement.words[done:]))]
