"""Draw the plots of a report as SVG, with text as selectable text."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .calibration import Confidences, coverage_curve
from .slices import Score

# Placeholders that `render` replaces by the colours of the page's theme.
INK = "#1c2733"
DATA = "#1f5fa8"
MUTED = "#8593a3"
_POINTS = 300  # of a curve; more would not be visible

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",  # makes the file reproducible
    "font.size": 10,
    "font.family": "sans-serif",
    "text.parse_math": False,  # a type may have a dollar sign in its name
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def plot_scores(scores: Sequence[Score]) -> str:
    """Draw F1 with its interval, one line per type.

    scores (Sequence[Score]): the scores, from top to bottom.
    RETURNS (str): the image, as SVG.
    """

    def draw(axes: Any) -> None:
        for y, score in enumerate(scores):
            interval = score.intervals[2]
            if interval is not None:
                ends = [100 * end for end in interval]
                axes.plot(ends, [y, y], color=DATA, linewidth=2, alpha=0.45)
            axes.plot(100 * score.f1, y, "o", color=DATA, markersize=6)
        axes.set_yticks(range(len(scores)), [score.name for score in scores])
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_xlabel("F1")
        axes.grid(axis="x", color=MUTED, alpha=0.3, linewidth=0.6)

    return _draw(draw, 4.6, 0.75 + 0.3 * len(scores))


def plot_reliability(confidences: Confidences) -> str:
    """Draw a reliability diagram: precision by probability.

    confidences (Confidences): the bins.
    RETURNS (str): the image, as SVG.
    """

    def draw(axes: Any) -> None:
        bins = confidences.bins
        largest = max(part.count for part in bins)
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        points = [part.probability for part in bins], [part.precision for part in bins]
        axes.plot(*points, color=DATA, alpha=0.4)
        axes.scatter(
            *points,
            s=[20 + 180 * part.count / largest for part in bins],
            color=DATA,
            linewidths=0,
        )
        axes.set(xlabel="probability", ylabel="precision", xlim=(0, 1.04), ylim=(0, 1.04))
        axes.grid(color=MUTED, alpha=0.3, linewidth=0.6)

    return _draw(draw, 4.6, 3.6)


def plot_coverage(confidences: Confidences) -> str:
    """Draw precision by the share of predictions that a threshold keeps.

    confidences (Confidences): the predictions.
    RETURNS (str): the image, as SVG.
    """
    coverage, precision = coverage_curve(confidences)
    shown = np.unique(np.linspace(0, len(coverage) - 1, _POINTS).round().astype(int))

    def draw(axes: Any) -> None:
        axes.plot(coverage[shown], precision[shown], color=DATA, linewidth=1.8)
        axes.set(xlabel="share of predictions kept", ylabel="precision", xlim=(0, 1.02))
        axes.grid(color=MUTED, alpha=0.3, linewidth=0.6)

    return _draw(draw, 4.6, 3.6)


def _draw(draw: Callable[[Any], None], width: float, height: float) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - an optional dependency
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
