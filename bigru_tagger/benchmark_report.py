"""What a benchmark says: tables in Markdown, all times as JSON, and a plot."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .memory import Memory
from .passages import Shape
from .plots import save_figure
from .roofline import Roofline
from .stages import StageTimes
from .timing import Timing

_GIGA = 1e9
_MILLI = 1e-3
_MICRO = 1e-6


@dataclass(frozen=True)
class Benchmark:
    """The times of one run; `None` for a section that was not measured.

    about (dict[str, str]): what the numbers depend on: the machine, versions, the command.
    baseline (str | None): the system that the others are compared to.
    """

    about: dict[str, str]
    baseline: str | None
    prediction: list[Timing] | None = None
    latency: list[Timing] | None = None
    stages: list[StageTimes] | None = None
    roofline: Roofline | None = None
    lengths: dict[Shape, list[Timing]] | None = None
    memory: list[Memory] | None = None
    training: list[Timing] | None = None

    def to_json(self) -> dict[str, Any]:
        """Give all times as JSON-serialisable values."""
        sections: dict[str, Any] = {
            name: None if section is None else [asdict(entry) for entry in section]
            for name, section in (
                ("prediction", self.prediction),
                ("latency", self.latency),
                ("stages", self.stages),
                ("memory", self.memory),
                ("training", self.training),
            )
        }
        roofline = None if self.roofline is None else asdict(self.roofline)
        lengths = None
        if self.lengths is not None:
            lengths = [
                {**asdict(shape), "timings": [asdict(timing) for timing in timings]}
                for shape, timings in self.lengths.items()
            ]
        about = {**self.about, "baseline": self.baseline}
        return {"about": about, **sections, "roofline": roofline, "lengths": lengths}


def render_benchmark(benchmark: Benchmark) -> str:
    """Lay a benchmark out in Markdown: what it depends on, then a table for each section.

    benchmark (Benchmark): the times.
    RETURNS (str): the text, without an end of the last line.
    """
    blocks = ["# Speed", "\n".join(f"- {name}: {text}" for name, text in benchmark.about.items())]
    baseline = benchmark.baseline
    if benchmark.prediction is not None:
        blocks += [
            "## Prediction",
            "Words per second of `nlp.pipe`: the median of the rounds, the lowest and the highest. "
            "“cold” begins each round without any word in its cache.",
            _speed_table(benchmark.prediction, baseline),
        ]
    if benchmark.latency is not None:
        blocks += [
            "## Latency",
            "Milliseconds of `nlp(text)` for one short sentence.",
            _latency_table(benchmark.latency, baseline),
        ]
    if benchmark.stages is not None:
        blocks += ["## Stages of prediction", *_stages(benchmark.stages)]
    if benchmark.roofline is not None:
        blocks += ["## Roofline", *_roofline(benchmark.roofline)]
    if benchmark.lengths is not None:
        blocks += [
            "## Length and number of Docs",
            "Words per second of `nlp.pipe`, medians.",
            _lengths_table(benchmark.lengths),
        ]
    if benchmark.memory is not None:
        blocks += ["## Memory", *_memory(benchmark.memory)]
    if benchmark.training is not None:
        blocks += [
            "## Training",
            "Words per second of the steps of `spacy train`, without its evaluations.",
            _speed_table(benchmark.training, baseline),
        ]
    return "\n\n".join(blocks)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:]))


def _label(system: str, variant: str) -> str:
    return f"{system}, {variant}" if variant else system


def _speed_table(timings: Sequence[Timing], baseline: str | None) -> str:
    header = ["system", "words/s", "lowest to highest"]
    rows = []
    for timing in timings:
        speeds = f"{min(timing.speeds):,.0f} to {max(timing.speeds):,.0f}"
        rows.append([_label(timing.system, timing.variant), f"{timing.speed:,.0f}", speeds])
    return _table(*_with_ratio(header, rows, [t.speed for t in timings], timings, baseline))


def _latency_table(timings: Sequence[Timing], baseline: str | None) -> str:
    header = ["system", "median", "95 % are below", "words", "calls"]
    rows = []
    for timing in timings:
        median, high = np.percentile(timing.seconds, [50, 95]) / _MILLI
        counts = [f"{timing.amounts[0]}", f"{len(timing.seconds)}"]
        rows.append(
            [_label(timing.system, timing.variant), f"{median:.2f}", f"{high:.2f}", *counts]
        )
    return _table(*_with_ratio(header, rows, [t.speed for t in timings], timings, baseline))


def _with_ratio(
    header: list[str],
    rows: list[list[str]],
    speeds: Sequence[float],
    timings: Sequence[Timing],
    baseline: str | None,
) -> tuple[list[str], list[list[str]]]:
    # A last column: how many times as fast as the baseline, if that is among the systems.
    of_baseline = {
        timing.system: speed
        for timing, speed in zip(timings, speeds, strict=True)
        if not timing.variant
    }
    if baseline not in of_baseline:
        return header, rows
    ratios = [f"{speed / of_baseline[baseline]:.2f}" for speed in speeds]
    return [*header, f"times {baseline}"], [
        [*row, ratio] for row, ratio in zip(rows, ratios, strict=True)
    ]


def _stages(measured: Sequence[StageTimes]) -> list[str]:
    if not measured:
        return ["No system has a component of this package."]
    header = ["µs per word (share)", *(_label(times.system, times.variant) for times in measured)]
    columns = []
    for times in measured:
        total = sum(times.seconds.values())
        columns.append(
            [
                f"{seconds / times.words / _MICRO:.2f} ({seconds / total:.0%})"
                for seconds in times.seconds.values()
            ]
            + [f"{total / times.words / _MICRO:.2f}"]
        )
    names = [*measured[0].seconds, "all"]
    return [
        "A stage counts without those that it calls. Embedding is what words cost that are not in "
        "the cache; the last but one row is spaCy and all other components.",
        _table(header, zip(names, *columns, strict=True)),
    ]


def _roofline(roofline: Roofline) -> list[str]:
    size = roofline.matrix
    text = (
        f"A product of two float32 matrices of {size:,} by {size:,} reaches "
        f"{roofline.peak / _GIGA:.1f} GFLOP/s here. A word costs the GRU 2 · 3 · units² FLOPs of "
        "recurrent products in each layer and direction; its input is prepared."
    )
    rows = [
        [
            timing.system,
            f"{timing.speed:,.0f}",
            f"{roofline.flops[timing.system]:,}",
            f"{timing.speed * roofline.flops[timing.system] / _GIGA:.1f}",
            f"{roofline.share(timing):.0%}",
        ]
        for timing in roofline.recurrences
    ]
    if not rows:
        return [text, "No system has a GRU of this package that runs on the CPU."]
    header = [
        "system",
        "words/s of the GRU alone",
        "FLOPs per word",
        "GFLOP/s",
        "share of the peak",
    ]
    return [text, _table(header, rows)]


def _lengths_table(lengths: dict[Shape, list[Timing]]) -> str:
    systems = [timing.system for timing in next(iter(lengths.values()))]
    rows = [
        [str(shape), *(f"{timing.speed:,.0f}" for timing in timings)]
        for shape, timings in lengths.items()
    ]
    return _table(["words/s", *systems], rows)


def _memory(measured: Sequence[Memory]) -> list[str]:
    if not measured:
        return ["This system does not tell a process's memory as Linux does."]
    header = ["words", *(memory.system for memory in measured)]
    rows = []
    for step in range(len(measured[0].words)):
        cells = [f"{memory.mebibytes[step]:,.0f} ({memory.strings[step]:,})" for memory in measured]
        rows.append([f"{measured[0].words[step]:,}", *cells])
    return [
        "MiB that a process of its own holds over a stream in which the vocabulary goes on growing "
        "(and the entries of spaCy's string store, which keeps every word).",
        _table(header, rows),
    ]


def plot_benchmark(benchmark: Benchmark, path: Path) -> bool:
    """Draw what was measured of speed, stages, lengths and memory, a panel each.

    benchmark (Benchmark): the times.
    path (Path): the image, .svg or .png, replaced only when all is drawn.
    RETURNS (bool): whether there was anything to draw.
    RAISES (OSError): the image cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency

    panels: list[tuple[str, Callable[[Any, Any], None], Any]] = []
    for title, timings in (("Prediction", benchmark.prediction), ("Training", benchmark.training)):
        if timings:
            panels.append((title, _draw_speeds, timings))
    if benchmark.stages:
        panels.append(("Stages of prediction", _draw_stages, benchmark.stages))
    if benchmark.lengths:
        panels.append(("Length of Docs", _draw_lengths, benchmark.lengths))
    if benchmark.memory:
        panels.append(("Memory over a stream", _draw_memory, benchmark.memory))
    if not panels:
        return False
    figure = Figure(figsize=(8, 3 * len(panels)), layout="constrained")
    all_axes = figure.subplots(len(panels), squeeze=False).flat
    for axes, (title, draw, measured) in zip(all_axes, panels, strict=True):
        axes.set_title(title)
        draw(axes, measured)
    save_figure(figure, path)
    return True


def _draw_speeds(axes: Any, timings: Sequence[Timing]) -> None:
    labels = [_label(timing.system, timing.variant) for timing in timings]
    medians = [timing.speed for timing in timings]
    below = [timing.speed - min(timing.speeds) for timing in timings]
    above = [max(timing.speeds) - timing.speed for timing in timings]
    axes.barh(labels, medians, xerr=[below, above], capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel("words/s: median, lowest and highest")


def _draw_stages(axes: Any, measured: Sequence[StageTimes]) -> None:
    labels = [_label(times.system, times.variant) for times in measured]
    left = np.zeros(len(measured))
    for stage in measured[0].seconds:
        widths = np.array([times.seconds[stage] / times.words / _MICRO for times in measured])
        axes.barh(labels, widths, left=left, label=stage)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("µs per word")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


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
    axes.legend(fontsize="small")


def _draw_memory(axes: Any, measured: Sequence[Memory]) -> None:
    for memory in measured:
        axes.plot(memory.words, memory.mebibytes, "-o", label=memory.system)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("words")
    axes.set_ylabel("MiB")
    axes.legend(fontsize="small")
