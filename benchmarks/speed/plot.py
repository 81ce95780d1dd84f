"""Draw the plot of a benchmark."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigru_tagger.plots import save_figure

from .memory import Memory
from .passages import Shape
from .prediction import COLD
from .report import Benchmark
from .stages import StageTimes
from .timing import Timing

_WIDTH = 8.0  # inches, of the figure
_ROW, _FRAME, _CURVES = 0.34, 0.95, 3.0  # inches of height: a bar, a panel without its bars, curves
# Okabe and Ito's palette, which is suitable for colour-blind readers.
_OURS, _COLD, _OTHERS, _LINES = "#0072b2", "#a6cee3", "#9a9a9a", "#333333"
_MILLI, _MICRO = 1e-3, 1e-6

_Draw = Callable[[Any, Any], None]


def plot_benchmark(benchmark: Benchmark, path: Path) -> bool:
    """Draw one panel per section: speed, latency, training, stages, lengths and memory.

    benchmark (Benchmark): the times.
    path (Path): the image, .svg or .png, written atomically.
    RETURNS (bool): whether there was anything to draw.
    RAISES (OSError): the image cannot be written.
    """
    # An optional dependency.
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    ours = {timing.system for timing in benchmark.prediction or () if timing.variant == COLD}
    panels: list[tuple[str, float, _Draw, Any]] = []
    bars: list[tuple[str, list[Timing] | None, _Draw]] = [
        ("Prediction: words per second, more is better", benchmark.prediction, _draw_speeds),
        ("Latency of a short sentence: milliseconds, less is better", benchmark.latency, _draw_ms),
        ("Training: words per second, more is better", benchmark.training, _draw_speeds),
    ]
    for title, timings, draw in bars:
        if timings:
            n_systems = len({timing.system for timing in timings})
            panels.append((title, _FRAME + _ROW * n_systems, draw, (timings, ours)))
    if benchmark.stages:
        height = _FRAME + 0.5 + _ROW * len(benchmark.stages)
        panels.append(("Stages of prediction", height, _draw_stages, benchmark.stages))
    if benchmark.lengths:
        panels.append(("Length of Docs", _CURVES, _draw_lengths, benchmark.lengths))
    if benchmark.memory:
        panels.append(("Memory over a stream", _CURVES, _draw_memory, benchmark.memory))
    if not panels:
        return False
    heights = [height for _, height, _, _ in panels]
    # A white background, because lines and letters are dark.
    layout = ConstrainedLayoutEngine(h_pad=0.1)  # inches, above and below a panel
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout=layout, facecolor="white")
    all_axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights).flat
    for axes, (title, _, draw, measured) in zip(all_axes, panels, strict=True):
        axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, measured)
    save_figure(figure, path)
    return True


def _draw_speeds(axes: Any, measured: tuple[Sequence[Timing], set[str]]) -> None:
    timings, ours = measured
    with_cold = any(timing.variant == COLD for timing in timings)
    names = list(dict.fromkeys(timing.system for timing in timings))
    for timing in timings:
        cold = timing.variant == COLD
        # Two bars of a system share its row.
        height, shift = (0.36, 0.2 if cold else -0.2) if timing.system in ours else (0.5, 0.0)
        colour = _COLD if cold else _OURS if timing.system in ours else _OTHERS
        ends = [timing.speed - min(timing.speeds), max(timing.speeds) - timing.speed]
        _draw_bar(axes, names.index(timing.system) + shift, timing.speed, height, colour, ends)
        place = (max(timing.speeds), names.index(timing.system) + shift)
        _write(axes, f"{timing.speed:,.0f}", place)
    _name_rows(axes, names)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if with_cold:
        axes.bar(0, 0, color=_OURS, label="words in the cache")
        axes.bar(0, 0, color=_COLD, label="empty cache at the start")
        axes.legend(fontsize="small", loc="lower right", frameon=False)


def _draw_ms(axes: Any, measured: tuple[Sequence[Timing], set[str]]) -> None:
    timings, ours = measured
    names = [timing.system for timing in timings]
    for row, timing in enumerate(timings):
        median, high = np.percentile(timing.seconds, [50, 95]) / _MILLI
        colour = _OURS if timing.system in ours else _OTHERS
        _draw_bar(axes, row, median, 0.5, colour, [0.0, high - median])
        _write(axes, f"{median:.1f}", (high, row))
    _name_rows(axes, names)


def _draw_bar(  # noqa: PLR0917
    axes: Any, row: float, width: float, height: float, colour: str, ends: list[float]
) -> None:
    whiskers = {"ecolor": _LINES, "elinewidth": 0.8, "capsize": 2}
    axes.barh(row, width, height, color=colour, xerr=[[ends[0]], [ends[1]]], error_kw=whiskers)


def _write(axes: Any, text: str, place: tuple[float, float]) -> None:
    axes.annotate(
        text, place, (4, 0), textcoords="offset points", va="center", fontsize="small", color=_LINES
    )


def _name_rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.12)  # space for the numbers after the bars
    axes.grid(axis="x", color="#e5e5e5")
    axes.set_axisbelow(True)


def _draw_stages(axes: Any, measured: Sequence[StageTimes]) -> None:
    labels = [
        f"{times.system}, {times.variant}" if times.variant else times.system for times in measured
    ]
    left = np.zeros(len(measured))
    for stage in measured[0].seconds:
        widths = np.array([times.seconds[stage] / times.words / _MICRO for times in measured])
        axes.barh(labels, widths, left=left, label=stage)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("µs per word")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _draw_lengths(axes: Any, lengths: dict[Shape, list[Timing]]) -> None:
    for with_starts, style in ((True, "-"), (False, "--")):
        shapes = [s for s in lengths if s.tokens is not None and s.with_starts == with_starts]
        known = "with" if with_starts else "without"
        for i, timings in enumerate(zip(*(lengths[shape] for shape in shapes), strict=True)):
            axes.plot(
                [shape.tokens for shape in shapes],
                [timing.speed for timing in timings],
                f"{style}o",
                color=f"C{i}",
                label=f"{timings[0].system}, {known} sentence starts",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("tokens of a Doc")
    axes.set_ylabel("words/s")
    axes.legend(fontsize="small", frameon=False)


def _draw_memory(axes: Any, measured: Sequence[Memory]) -> None:
    for memory in measured:
        axes.plot(memory.words, memory.mebibytes, "-o", label=memory.system)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("words")
    axes.set_ylabel("MiB")
    axes.legend(fontsize="small", frameon=False)
