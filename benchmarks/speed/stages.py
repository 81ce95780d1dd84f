"""Measure the time of each stage of prediction with torch's profiler.

The stages are those of `bigru_tagger.stages`. The profiler also records all operations of torch,
which slows prediction down: by 3 % with all words in the cache and by 10 % with an empty cache, on
two cores with a model of 128 units. Use these times to compare stages. To compare systems, use
their speed without a profiler.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from spacy.language import Language
from torch.profiler import ProfilerActivity, profile, record_function

from bigru_tagger.stages import STAGES

from .passages import Passage
from .prediction import COLD, our_shims, prediction_task, variants
from .timing import Task, Work, time_in_turn

REST = "rest"
"""The stage for all other code: spaCy and other components."""

_MICRO = 1e-6  # seconds, the unit of the profiler's times
_NAMES = {name: name.rpartition(".")[2] for name in STAGES} | {REST: REST}


@dataclass(frozen=True)
class StageTimes:
    """The times of the stages of prediction.

    system, variant (str): see `Timing`.
    words (int): number of words in each round.
    rounds (tuple[dict[str, float], ...]): for each round, the seconds of each stage.
    """

    system: str
    variant: str
    words: int
    rounds: tuple[dict[str, float], ...]

    @property
    def seconds(self) -> dict[str, float]:
        """The median seconds of each stage over the rounds."""
        return {
            stage: float(np.median([r[stage] for r in self.rounds])) for stage in self.rounds[0]
        }


def measure_stages(
    pipelines: Mapping[str, Language], passages: Sequence[Passage], rounds: int
) -> list[StageTimes]:
    """Time the stages of prediction.

    pipelines (Mapping[str, Language]): the pipelines by name. Those without a component of this
        package are left out.
    passages (Sequence[Passage]): the data.
    rounds (int): number of timed rounds.
    RETURNS (list[StageTimes]): the times of each pipeline, with words in the cache and cold.
    """
    tasks: dict[tuple[str, str], Task] = {}
    stages: dict[tuple[str, str], list[dict[str, float]]] = {}
    for name, nlp in pipelines.items():
        for variant in variants(nlp) if our_shims(nlp) else ():
            key = (name, variant)
            stages[key] = []
            predict = prediction_task(nlp, passages, cold=variant == COLD)
            tasks[key] = _profiled(predict, stages[key])
    words = sum(map(len, passages))
    time_in_turn(tasks, rounds, title="stages")
    # The first round is the warm-up.
    return [StageTimes(*key, words, tuple(times[1:])) for key, times in stages.items()]


def _profiled(task: Task, times: list[dict[str, float]]) -> Task:
    def prepare() -> Work:
        work = task()

        def run() -> int:
            with profile(activities=[ProfilerActivity.CPU]) as profiled, record_function(REST):
                words = work()
            times.append(stage_seconds(_read_ranges(profiled)))
            return words

        return run

    return prepare


def _read_ranges(profiled: profile) -> list[dict[str, Any]]:
    # Through a file, because `profiled.events()` takes ten times as long.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf8"))["traceEvents"]
    return [
        event
        for event in events
        if event.get("cat") == "user_annotation" and event["name"] in _NAMES
    ]


def stage_seconds(ranges: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Add up the time of each stage, without the stages that run inside it.

    ranges (Iterable[Mapping[str, Any]]): ranges of one thread in Chrome's trace format: `name`,
        start `ts` and duration `dur`, both in microseconds.
    RETURNS (dict[str, float]): the seconds of each stage, by the last part of its name, and of
        `REST`.
    """
    seconds = dict.fromkeys(_NAMES.values(), 0.0)
    around: list[tuple[str, float]] = []  # the open ranges, with their ends
    for event in sorted(ranges, key=lambda event: (event["ts"], -event["dur"])):
        while around and around[-1][1] <= event["ts"]:
            around.pop()
        if around:
            seconds[around[-1][0]] -= event["dur"] * _MICRO
        name = _NAMES[event["name"]]
        seconds[name] += event["dur"] * _MICRO
        around.append((name, event["ts"] + event["dur"]))
    return seconds
