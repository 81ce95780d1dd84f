"""Reports as files, in the format that their names ask for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..plots import can_plot
from ..scoring.run import Evaluation, replacing
from .layers import Analysis
from .markdown import render_markdown
from .page import render_page
from .sections import make_report
from .system_comparison import SystemComparison

ENDINGS = (".html", ".md")
_NO_PLOTS = 'left out, since matplotlib is not installed: pip install "bigru-tagger[plots]"'


def check_report_paths(paths: Sequence[Path]) -> None:
    """Tell before any work whether reports can be written.

    paths (Sequence[Path]): where they are to go.
    RAISES (ValueError): a name has another ending.
    """
    for path in paths:
        if path.suffix not in ENDINGS:
            raise ValueError(f"--report: {path} has to end in {' or '.join(ENDINGS)}")


def write_reports(
    paths: Sequence[Path],
    evaluation: Evaluation,
    analyses: Sequence[Analysis],
    about: Mapping[str, str],
    comparison: SystemComparison | None = None,
) -> None:
    """Write up an evaluation; a page has no plots where there is no matplotlib, and says so.

    paths (Sequence[Path]): the files, each replaced only when all is written.
    evaluation, analyses, about, comparison: see `sections.make_report`.
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
