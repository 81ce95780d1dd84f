"""A report as Markdown: the same numbers and errors, without plots and filters."""

import re
from collections.abc import Iterable, Sequence

from .blocks import (
    Block,
    Cell,
    Code,
    ErrorGroup,
    ErrorList,
    Excerpt,
    Figure,
    Paragraph,
    Piece,
    ReadingList,
    Report,
    Table,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")
_TICKS = re.compile(r"`+")


def render_markdown(report: Report) -> str:
    """Lay a report out as Markdown.

    report (Report): the report, whose plots are left out.
    RETURNS (str): the text.
    """
    facts = [f"- {_escape(name)}: {_escape(fact.text)}{_note(fact)}" for name, fact in report.facts]
    blocks = [
        f"# {_escape(report.title)}",
        _escape(report.subtitle),
        "\n".join(facts),
    ]
    for section in report.sections:
        blocks.append(f"## {_escape(section.title)}")
        blocks += [text for block in section.blocks for text in _block(block)]
    return "\n\n".join(blocks) + "\n"


def _block(block: Block) -> list[str]:
    if isinstance(block, Paragraph):
        return [_escape(block.text)]
    if isinstance(block, Code):
        return [_fenced([block.text])]
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, ErrorList):
        return [text for group in block.groups for text in _group(group)]
    if isinstance(block, ReadingList):
        return _readings(block)
    assert isinstance(block, Figure)
    return []


def _table(table: Table) -> list[str]:
    rule = ["---" if i < table.n_names else "---:" for i in range(len(table.header))]
    rows = [[_escape(name) for name in table.header], rule]
    rows += [[f"{_escape(cell.text)}{_note(cell)}" for cell in row] for row in table.rows]
    title = [f"### {_escape(table.title)}"] if table.title else []
    return [*title, "\n".join(f"| {' | '.join(row)} |" for row in rows)]


def _note(cell: Cell) -> str:
    return f" {_escape(cell.note)}" if cell.note else ""


def _group(group: ErrorGroup) -> list[str]:
    lines = [line for excerpt in group.excerpts for line in _excerpt(excerpt)]
    return [f"### {_escape(group.title)}: {len(group.excerpts):,}", _fenced(lines)]


def _excerpt(excerpt: Excerpt) -> list[str]:
    probability = "" if excerpt.probability is None else f", probability {excerpt.probability:.3f}"
    return [
        f"{excerpt.place}{probability}",
        f"  gold       {_side(excerpt.gold)}",
        f"  predicted  {_side(excerpt.predicted)}",
    ]


def _readings(readings: ReadingList) -> list[str]:
    lines = []
    for number, sentence in enumerate(readings.sentences, start=1):
        lines.append(f"{number}")
        lines += [f"  {name:<9}  {_side(pieces)}" for name, pieces in sentence.items()]
    return [f"### {_escape(readings.title)}: {len(readings.sentences):,}", _fenced(lines)]


def _side(pieces: Iterable[Piece]) -> str:
    text = "".join(
        piece.text if piece.label is None else f"[{piece.label} {piece.text}]" for piece in pieces
    )
    return " ".join(text.split())


def _fenced(lines: Sequence[str]) -> str:
    longest = max((len(run) for line in lines for run in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *lines, fence])


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
