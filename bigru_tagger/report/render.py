"""Render reports as HTML or Markdown, with Jinja templates."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from spacy.language import Language
from spacy.training import Example

from ..errors import ConfigError
from ..files import replacing
from ..markdown import escape_markdown, markdown_table
from ..plots import can_plot
from ..scoring.loading import confidence_attributes
from ..scoring.run import Evaluation
from .analysis import Analysis, analyse_tasks
from .blocks import Cell, Figure, Piece, Report, Table
from .evaluation_sections import make_report
from .plots import DATA, INK, MUTED
from .provenance import describe_evaluation
from .system_comparison import SystemComparison

ENDINGS = (".html", ".md")
_FOLDER = Path(__file__).parent
_N_COLOURS = 8  # of types in report.css; all further types share a ninth colour
_THEME = {INK: "currentColor", DATA: "var(--data)", MUTED: "var(--soft)"}
_NO_PLOTS = 'left out because matplotlib is not installed: pip install "bigru-tagger[plots]"'
_TICKS = re.compile(r"`+")


def check_report_paths(paths: Sequence[Path]) -> None:
    """Check the file names of reports before they are computed.

    paths (Sequence[Path]): the files.
    RAISES (ValueError): a file name has none of ENDINGS.
    """
    for path in paths:
        if path.suffix not in ENDINGS:
            raise ConfigError(f"`report`: {path} must end in {' or '.join(ENDINGS)}")


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    *,
    nlp: Language | None = None,
    training: Sequence[Example] | None = None,
) -> None:
    """Analyse an evaluation and write the report.

    path (str | Path): the file, which ends in .html or .md. It is written atomically.
    evaluation (Evaluation): the result of `evaluate`.
    nlp (Language | None): the evaluated pipeline. If given, the report has its components, its size
        and the calibration of its probabilities.
    training (Sequence[Example] | None): the training data. If given, the report has separate scores
        for entities that do not occur in them.
    RAISES (ValueError): the file name has another ending.
    RAISES (OSError): the file cannot be written.
    """
    names = () if nlp is None else confidence_attributes(nlp)
    analyses = analyse_tasks(evaluation, confidence=names, training=training)
    write_reports([Path(path)], evaluation, analyses, describe_evaluation(nlp, evaluation))


def write_reports(
    paths: Sequence[Path],
    evaluation: Evaluation,
    analyses: Sequence[Analysis],
    about: Mapping[str, str],
    comparison: SystemComparison | None = None,
) -> None:
    """Write reports to files. Without matplotlib, HTML has a note instead of plots.

    paths (Sequence[Path]): the files, each written atomically.
    evaluation, analyses, about, comparison: see `evaluation_sections.make_report`.
    RAISES (ValueError): see `check_report_paths`.
    RAISES (OSError): a file cannot be written.
    """
    check_report_paths(paths)
    for path in paths:
        page = path.suffix == ".html"
        plots = page and can_plot()
        notes = {"plots": _NO_PLOTS} if page and not plots else {}
        report = make_report(
            evaluation, analyses, {**about, **notes}, plots=plots, comparison=comparison
        )
        with replacing(path) as file:
            file.write(render_page(report) if page else render_markdown(report))


def render_page(report: Report) -> str:
    """Render a report as HTML.

    report (Report): the report.
    RETURNS (str): the page. It needs no network, and uses JavaScript only to filter errors.
    """
    return _environment().get_template("report.html.jinja").render(report=report)


def render_markdown(report: Report) -> str:
    """Render a report as Markdown, without plots.

    report (Report): the report.
    RETURNS (str): the text.
    """
    return _environment().get_template("report.md.jinja").render(report=report)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=lambda name: name is not None and ".html." in name,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.globals["asset"] = _asset
    environment.filters |= {
        "bracketed": _bracketed,
        "colour": _colour,
        "fenced": _fenced,
        "inline_svg": _inline_svg,
        "kind": lambda block: type(block).__name__,
        "markdown": escape_markdown,
        "markdown_cell": _markdown_cell,
        "markdown_rows": _markdown_rows,
        "pair": lambda value: (value, value),
        "position": lambda label, positions: positions[label],
        "positions": lambda types: {label: i for i, label in enumerate(types)},
    }
    return environment


def _asset(name: str) -> Markup:
    return Markup((_FOLDER / "assets" / name).read_text(encoding="utf8"))


def _colour(label: str, positions: Mapping[str, int]) -> int:
    # The label of an unaligned prediction is followed by ":" and its text.
    position = positions.get(label, positions.get(label.partition(":")[0], _N_COLOURS))
    return min(position, _N_COLOURS)


def _inline_svg(figure: Figure, name: str) -> Markup:
    # Removes the XML header, makes ids unique in the page, and uses the colours of the theme.
    svg = figure.svg[figure.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    for placeholder, colour in _THEME.items():
        svg = svg.replace(placeholder, colour)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(figure.alt)}"', 1))


def _markdown_cell(cell: Cell) -> str:
    return escape_markdown(f"{cell.text} {cell.note}")


def _markdown_rows(table: Table) -> str:
    rows = ([_markdown_cell(cell) for cell in row] for row in table.rows)
    aligns = "l" * table.n_names + "r"
    return markdown_table(list(map(escape_markdown, table.header)), rows, aligns)


def _bracketed(pieces: Iterable[Piece]) -> str:
    text = "".join(
        piece.text if piece.label is None else f"[{piece.label} {piece.text}]" for piece in pieces
    )
    return " ".join(text.split())


def _fenced(text: Any) -> str:
    text = str(text).rstrip("\n")
    fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
