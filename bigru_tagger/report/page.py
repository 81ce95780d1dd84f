"""A report as a page: one HTML file that asks for nothing else."""

import re
from collections.abc import Iterable, Sequence
from functools import cache, partial
from html import escape
from pathlib import Path

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
    Section,
    Table,
)
from .plots import DATA, INK, MUTED

_NAME_WIDTH = 18  # characters; a longer name is broken before a table gets too wide for a phone
_N_COLOURS = 8  # of types in report.css; the types behind share one more
_RANGES = (("0.95 2", "0.95 and above"), ("0.8 0.95", "0.8 to 0.95"))
_MORE_RANGES = (("0.5 0.8", "0.5 to 0.8"), ("0 0.5", "below 0.5"), ("none", "none is known"))
# What a plot has in the colours of a theme, by what stands for it.
_THEME = {INK: "currentColor", DATA: "var(--data)", MUTED: "var(--soft)"}
_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
"""


def render_page(report: Report) -> str:
    """Lay a report out as HTML.

    report (Report): the report.
    RETURNS (str): the page, which needs no network, and no script but to filter errors.
    """
    title = f"{escape(report.title)} {escape(report.subtitle)}"
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(fact.text)}{_note(fact)}</dd></div>"
        for name, fact in report.facts
    )
    links = "".join(
        f'<li><a href="#{section.name}">{escape(section.title)}</a></li>'
        for section in report.sections
    )
    parts = [
        _HEAD.format(title=title, css=page_file("report.css")),
        f"<header>\n<h1>{escape(report.title)}</h1>\n",
        f'<p class="soft">{escape(report.subtitle)}</p>\n',
        f'<dl class="facts">{facts}</dl>\n</header>\n<nav><ul>{links}</ul></nav>\n<main>\n',
        *(_section(section) for section in report.sections),
        f"</main>\n<script>\n{page_file('report.js')}</script>\n</body>\n</html>\n",
    ]
    return "".join(parts)


@cache
def page_file(name: str) -> str:
    """Read a file that goes into each page.

    name (str): "report.css" or "report.js".
    RETURNS (str): its text.
    """
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf8")


def _section(section: Section) -> str:
    parts = []
    figures: list[str] = []
    for i, block in enumerate(section.blocks):
        if isinstance(block, Figure):
            figures.append(_figure(f"{section.name}-{i}", block))
            continue
        parts += _row(figures)
        figures = []
        parts.append(_block(section.name, block))
    parts += _row(figures)
    heading = f'<h2 id="{section.name}">{escape(section.title)}</h2>\n'
    return f"<section>\n{heading}{''.join(parts)}</section>\n"


def _row(figures: Sequence[str]) -> list[str]:
    return [f'<div class="figures">{"".join(figures)}</div>\n'] if figures else []


def _block(section: str, block: Block) -> str:
    if isinstance(block, Paragraph):
        small = ' class="soft"' if block.small else ""
        return f"<p{small}>{escape(block.text)}</p>\n"
    if isinstance(block, Code):
        return f"<pre><code>{escape(block.text)}</code></pre>\n"
    if isinstance(block, Table):
        return _table(section, block)
    if isinstance(block, ReadingList):
        return _reading_list(block)
    assert isinstance(block, ErrorList)
    return _error_list(section, block)


def _table(section: str, table: Table) -> str:
    errors = f"{section.rpartition('-')[0]}-errors"
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    header = "".join(
        f'<th scope="col"{_name_class(i, table)}>{escape(name)}</th>'
        for i, name in enumerate(table.header)
    )
    rows = "".join(
        f"<tr{_row_class(i, table)}>"
        + "".join(_cell(k, cell, table, errors) for k, cell in enumerate(row))
        + "</tr>\n"
        for i, row in enumerate(table.rows)
    )
    head = f"<thead><tr>{header}</tr></thead>\n" if any(table.header) else ""
    longest = max((len(row[0].text) for row in table.rows), default=0)
    width = f' style="--names: {min(longest, _NAME_WIDTH) // 2}rem"'
    heat = ' class="heat"' if table.heat else ""
    return (
        f'{title}<div class="scroll" tabindex="0"><table{heat}{width}>\n{head}<tbody>\n{rows}'
        "</tbody></table></div>\n"
    )


def _row_class(i: int, table: Table) -> str:
    first = len(table.rows) - table.n_totals
    if i < first:
        return ""
    return ' class="total top"' if i == first else ' class="total"'


def _name_class(i: int, table: Table) -> str:
    return ' class="name"' if i < table.n_names else ""


def _cell(i: int, cell: Cell, table: Table, errors: str) -> str:
    text = escape(cell.text)
    if cell.find:
        text = f'<a href="#{errors}" data-find="{escape(cell.find)}">{text}</a>'
    text += _note(cell)
    if i < table.n_names:
        direction = ' dir="auto"'
        if i == 0:
            return f'<th scope="row" class="name"{direction}>{text}</th>'
        return f'<td class="name"{direction}>{text}</td>'
    if cell.share is None:
        return f"<td>{text}</td>"
    if table.heat:
        return f'<td style="--share:{cell.share:.3f}">{text}</td>'
    return f'<td class="bar" style="--share:{cell.share:.1%}">{text}</td>'


def _note(cell: Cell) -> str:
    return f" <small>{escape(cell.note)}</small>" if cell.note else ""


def _figure(name: str, figure: Figure) -> str:
    return (
        f"<figure><figcaption>{escape(figure.title)}</figcaption>\n"
        f"{_inline(name, figure.svg, figure.alt)}</figure>\n"
    )


def _inline(name: str, svg: str, alt: str) -> str:
    # What a file of its own has to say, and what must be there once in a page.
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    for stand_in, colour in _THEME.items():
        svg = svg.replace(stand_in, colour)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)


def _colours(types: Sequence[str]) -> dict[str, int]:
    return {label: min(i, _N_COLOURS) for i, label in enumerate(types)}


def _reading_list(readings: ReadingList) -> str:
    colours = _colours(readings.types)
    items = "".join(
        '<li class="error">'
        + "".join(_side(colours, name, pieces) for name, pieces in sentence.items())
        + "</li>\n"
        for sentence in readings.sentences
    )
    return (
        f"<details><summary>{escape(readings.title)} "
        f"<small>{len(readings.sentences):,}</small></summary>\n<ol>{items}</ol></details>\n"
    )


def _error_list(section: str, errors: ErrorList) -> str:
    colours = _colours(errors.types)
    numbers = {label: i for i, label in enumerate(errors.types)}
    known = any(own.probability is not None for group in errors.groups for own in group.excerpts)
    groups = "".join(_group(group, numbers, partial(_side, colours)) for group in errors.groups)
    return (
        f'<div class="errors" data-section="{section}">\n{_filter(errors, known)}{groups}</div>\n'
    )


def _filter(errors: ErrorList, known: bool) -> str:
    kinds = dict.fromkeys(group.kind for group in errors.groups)
    types = [(str(i), label) for i, label in enumerate(errors.types)]
    parts = [
        _select("type", types),
        _select("kind", [(kind, kind) for kind in kinds], "error"),
        _select("confidence", [*_RANGES, *_MORE_RANGES], "probability") if known else "",
        '<label>text<input name="find" type="search" autocomplete="off"></label>',
        '<button type="reset">clear</button><button type="button" class="fold">open all</button>',
        "<output></output>",
    ]
    return f'<form class="filter" hidden>{"".join(parts)}</form>\n'


def _select(name: str, options: Iterable[tuple[str, str]], label: str | None = None) -> str:
    inner = "".join(
        f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options
    )
    return (
        f'<label>{label or name}<select name="{name}"><option value="">all</option>{inner}'
        "</select></label>"
    )


def _group(group: ErrorGroup, numbers: dict[str, int], side: "partial[str]") -> str:
    types = {label for label in (group.gold, group.predicted) if label is not None}
    known = " ".join(str(numbers[label]) for label in sorted(types))
    items = "".join(_error(own, side) for own in group.excerpts)
    return (
        f'<details open data-kind="{group.kind}" data-types="{known}">'
        f"<summary>{escape(group.title)} <small>{len(group.excerpts):,}</small></summary>\n"
        f"<ol>{items}</ol></details>\n"
    )


def _error(excerpt: Excerpt, side: "partial[str]") -> str:
    probability, said = "", ""
    if excerpt.probability is not None:
        probability = f' data-p="{excerpt.probability:.6f}"'
        said = f", predicted with probability {excerpt.probability:.3f}"
    return (
        f'<li class="error"{probability}><small>{escape(excerpt.place)}{said}</small>'
        f"{side('gold', excerpt.gold)}{side('predicted', excerpt.predicted)}</li>\n"
    )


def _side(colours: dict[str, int], name: str, pieces: Iterable[Piece]) -> str:
    text = "".join(_piece(colours, piece) for piece in pieces)
    return f'<p><b>{name}</b><span dir="auto">{text}</span></p>'


def _piece(colours: dict[str, int], piece: Piece) -> str:
    if piece.label is None:
        return escape(piece.text)
    # A label may go on with the text of a prediction whose tokens differ.
    colour = colours.get(piece.label, colours.get(piece.label.partition(":")[0], _N_COLOURS))
    focus = " focus" if piece.focus else ""
    return f'<mark class="c{colour}{focus}">{escape(piece.text)}<i>{escape(piece.label)}</i></mark>'
