"""Render a benchmark as Markdown tables, and store all times as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigru_tagger.markdown import markdown_table

from .memory import Memory
from .passages import Shape
from .roofline import Roofline
from .stages import StageTimes
from .timing import Timing

_GIGA = 1e9
_MILLI = 1e-3
_MICRO = 1e-6


@dataclass(frozen=True)
class Benchmark:
    """The times of one run; `None` for a section that was not measured.

    about (dict[str, str]): the machine, versions, data, command and systems.
    baseline (str | None): the system to compare the others with; `None` for no comparison.
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
        """Return all times as JSON-serialisable values."""
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

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Benchmark":
        """Create a benchmark from the result of `to_json`.

        content (Mapping[str, Any]): the result of `to_json`.
        RETURNS (Benchmark): the benchmark.
        RAISES (KeyError, TypeError): the content has another form.
        """
        about = dict(content["about"])
        baseline = about.pop("baseline")
        roofline = lengths = stages = memory = None
        if content["stages"] is not None:
            stages = [
                StageTimes(**{**entry, "rounds": tuple(entry["rounds"])})
                for entry in content["stages"]
            ]
        if content["memory"] is not None:
            memory = [Memory(**entry) for entry in content["memory"]]
        if content["roofline"] is not None:
            own = content["roofline"]
            product, *recurrences = _read_timings([own["product"], *own["recurrences"]])
            roofline = Roofline(own["matrix"], product, own["flops"], recurrences)
        if content["lengths"] is not None:
            lengths = {
                Shape(entry["docs"], entry["tokens"], entry["with_starts"]): _read_timings(
                    entry["timings"]
                )
                for entry in content["lengths"]
            }

        def optional(section: str) -> list[Timing] | None:
            entries = content[section]
            return None if entries is None else _read_timings(entries)

        return cls(
            about,
            baseline,
            prediction=optional("prediction"),
            latency=optional("latency"),
            stages=stages,
            roofline=roofline,
            lengths=lengths,
            memory=memory,
            training=optional("training"),
        )


def _read_timings(entries: Iterable[Mapping[str, Any]]) -> list[Timing]:
    return [
        Timing(entry["system"], entry["variant"], tuple(entry["amounts"]), tuple(entry["seconds"]))
        for entry in entries
    ]


def read_benchmark(path: Path) -> Benchmark:
    """Read the JSON file of a benchmark.

    path (Path): the file.
    RETURNS (Benchmark): the benchmark.
    RAISES (OSError, ValueError): the file cannot be read, or has another form.
    """
    try:
        return Benchmark.from_json(json.loads(path.read_text(encoding="utf8")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a benchmark.json of this version of scripts/benchmark ({error!r}): use "
            "another file, or measure again"
        ) from error


def render_benchmark(benchmark: Benchmark) -> str:
    """Render a benchmark as Markdown: a description, then a table for each section.

    benchmark (Benchmark): the benchmark.
    RETURNS (str): the text, without a final newline.
    """
    blocks = ["# Speed", "\n".join(f"- {name}: {text}" for name, text in benchmark.about.items())]
    baseline = benchmark.baseline
    if benchmark.prediction is not None:
        blocks += [
            "## Prediction",
            "Words per second of `nlp.pipe`: the median, lowest and highest value of the rounds. "
            "“cold” starts each round with an empty word cache.",
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
            "Words per second of `nlp.pipe`: medians of the rounds.",
            _lengths_table(benchmark.lengths),
        ]
    if benchmark.memory is not None:
        blocks += ["## Memory", *_memory(benchmark.memory)]
    if benchmark.training is not None:
        blocks += [
            "## Training",
            "Words per second of the training steps of `spacy train`, without evaluations.",
            _speed_table(benchmark.training, baseline),
        ]
    return "\n\n".join(blocks)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    names, *cells = ([cell.replace("|", "\\|") for cell in row] for row in (header, *rows))
    return markdown_table(names, cells, "lr")


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
    header = ["system", "median", "95th percentile", "words", "calls"]
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
    # Adds a column with the speed relative to the baseline, if the baseline was measured.
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
        "Times from torch's profiler. The time of a stage excludes the stages inside it. `embed` "
        "is mostly the embedding of words that are not in the cache. `network` is the output "
        "layer. `rest` is spaCy and all other components.",
        _table(header, zip(names, *columns, strict=True)),
    ]


def _roofline(roofline: Roofline) -> list[str]:
    size = roofline.matrix
    text = (
        f"A product of two float32 matrices of {size:,} by {size:,} reaches "
        f"{roofline.peak / _GIGA:.1f} GFLOP/s on this machine. The recurrent products of a GRU "
        "need 2 · 3 · units² FLOPs per word in each layer and direction, those of an LSTM "
        "2 · 4 · units². The input is computed before, and not timed."
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
        return [text, "No system has recurrent layers of this package that run in NumPy."]
    header = [
        "system",
        "words/s of the recurrence",
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
        return ["Memory was not measured, because it can only be read on Linux."]
    header = ["words", *(_label(memory.system, memory.variant) for memory in measured)]
    rows = []
    for step in range(len(measured[0].words)):
        cells = [
            f"{memory.mebibytes[step]:,.0f} ({memory.cached[step]:,.0f}; {memory.strings[step]:,})"
            for memory in measured
        ]
        rows.append([f"{measured[0].words[step]:,}", *cells])
    return [
        "Resident memory of a separate process in MiB, over a stream with a growing vocabulary. "
        "In brackets: the MiB in the word cache of this package, and the number of entries in "
        "spaCy's string store, which stores every word, in memory zones only until their end.",
        _table(header, rows),
    ]
