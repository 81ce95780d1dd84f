"""Measure the speed of prediction, side by side in one run."""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spacy.language import Language
from thinc.api import Model

from bigru_tagger.model.shim import NetworkShim
from bigru_tagger.scoring.loading import load_pipeline

from .external import ExternalTagger
from .passages import Passage, Shape, reshape
from .timing import Clock, Task, Timing, Work, time_in_turn

COLD = "cold"
"""The variant that empties the word cache before each run."""

_SYSTEM = re.compile(r"(?P<name>[^=]+)=(?P<pipeline>.+?)(:(?P<keep>[\w.-]+(,[\w.-]+)*))?")


@dataclass(frozen=True)
class Sizes:
    """The amounts to measure.

    rounds (int): number of timed runs of each task.
    words (int | None): number of words of the data, in complete Docs; `None` for all.
    calls (int): number of calls of `nlp(text)`.
    matrix (int): rows and columns of the matrices whose product measures the peak.
    roofline_words (int): number of words for the recurrence.
    lengths (tuple[int, ...]): lengths of Docs in tokens.
    length_words (int): number of words in all Docs of a length, unless one Doc has more.
    numbers (tuple[int, int]): numbers of Docs, few and many.
    stream_words, stream_steps (int): words of the stream, and number of memory measurements.
    train_words (int): the least number of words in a round of training.
    """

    rounds: int
    words: int | None
    calls: int
    matrix: int
    roofline_words: int
    lengths: tuple[int, ...]
    length_words: int
    numbers: tuple[int, int]
    stream_words: int
    stream_steps: int
    train_words: int


FULL = Sizes(
    rounds=5,
    words=None,
    calls=200,
    matrix=2048,
    roofline_words=16_384,
    lengths=(100, 1_000, 10_000, 100_000),
    length_words=10_000,
    numbers=(100, 5_000),
    stream_words=1_000_000,
    stream_steps=10,
    train_words=10_000,
)
QUICK = Sizes(
    rounds=2,
    words=5_000,
    calls=20,
    matrix=1024,
    roofline_words=4_096,
    lengths=(100, 1_000),
    length_words=1_000,
    numbers=(10, 100),
    stream_words=50_000,
    stream_steps=5,
    train_words=500,
)


@dataclass(frozen=True)
class System:
    """A pipeline to measure.

    name (str): the name in tables.
    pipeline (str): the folder or package to load.
    keep (tuple[str, ...] | None): the components to run; `None` for all enabled ones.
    """

    name: str
    pipeline: str
    keep: tuple[str, ...] | None = None


def parse_system(text: str) -> System:
    """Parse NAME=PIPELINE or NAME=PIPELINE:COMPONENT,COMPONENT.

    text (str): the text. If PIPELINE:COMPONENT is an existing path, it is used as a path.
    RETURNS (System): the system.
    RAISES (ValueError): the text has another form.
    """
    found = _SYSTEM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"--model {text}: write NAME=PIPELINE, or NAME=PIPELINE:COMPONENT,COMPONENT to run "
            "only these components"
        )
    name, _, whole = text.partition("=")
    if found["keep"] is None or Path(whole).exists():
        return System(name, whole)
    return System(name, found["pipeline"], tuple(found["keep"].split(",")))


def load_system(system: System) -> Language:
    """Load a pipeline with the components to run.

    system (System): the system.
    RETURNS (Language): the pipeline.
    RAISES (ValueError): the pipeline cannot be loaded, or has no component of this name.
    """
    nlp = load_pipeline(system.pipeline)
    if system.keep is None:
        return nlp
    unknown = [name for name in system.keep if name not in nlp.component_names]
    if unknown:
        raise ValueError(
            f"--model {system.name}: {system.pipeline} has no component {', '.join(unknown)}; it "
            f"has {', '.join(nlp.component_names) or 'none'}"
        )
    for name in nlp.component_names:
        if name not in system.keep:
            nlp.remove_pipe(name)
        elif name not in nlp.pipe_names:
            nlp.enable_pipe(name)
    return nlp


def our_shims(nlp: Language) -> list[NetworkShim]:
    """Find the networks of this package in a pipeline.

    nlp (Language): the pipeline.
    RETURNS (list[NetworkShim]): the shims of the networks, in the order of the components.
    """
    models = [getattr(pipe, "model", None) for _, pipe in nlp.pipeline]
    nodes = [node for model in models if isinstance(model, Model) for node in model.walk()]
    return [shim for node in nodes for shim in node.shims if isinstance(shim, NetworkShim)]


def measure_prediction(
    systems: Mapping[str, Language | ExternalTagger],
    passages: Sequence[Passage],
    rounds: int,
    *,
    processes: int = 1,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time `nlp.pipe` on new Docs, and with an empty word cache for pipelines that have one.

    systems (Mapping[str, Language | ExternalTagger]): the systems by name. External taggers get the
        sentences of the data.
    passages (Sequence[Passage]): the data.
    rounds (int): number of timed rounds.
    processes (int): with 2 or more, also time `nlp.pipe` with `n_process`. This includes the start
        of the processes.
    clock (Clock): the clock.
    RETURNS (list[Timing]): the times, with amounts in words.
    """
    tasks: dict[tuple[str, str], Task] = {}
    for name, system in systems.items():
        if isinstance(system, ExternalTagger):
            tasks[name, ""] = system.prediction(passages)
            continue
        for variant in variants(system):
            tasks[name, variant] = prediction_task(system, passages, cold=variant == COLD)
        if processes > 1:
            task = prediction_task(system, passages, processes=processes)
            tasks[name, f"{processes} processes"] = task
    return time_in_turn(tasks, rounds, title="prediction", clock=clock)


def variants(nlp: Language) -> list[str]:
    """List the variants in which the prediction of a pipeline is timed.

    nlp (Language): the pipeline.
    RETURNS (list[str]): "", and `COLD` if the pipeline has a component of this package.
    """
    return ["", COLD] if our_shims(nlp) else [""]


def prediction_task(
    nlp: Language, passages: Sequence[Passage], *, cold: bool = False, processes: int = 1
) -> Task:
    """Make a task that runs `nlp.pipe` on new Docs.

    nlp (Language): the pipeline.
    passages (Sequence[Passage]): the data.
    cold (bool): whether to empty the word cache before each run.
    processes (int): the argument `n_process`.
    RETURNS (Task): the task. Its amount is in words.
    """

    def prepare() -> Work:
        docs = [passage.doc(nlp.vocab) for passage in passages]
        if cold:
            for shim in our_shims(nlp):
                shim.cache.clear()
        return lambda: sum(map(len, nlp.pipe(docs, n_process=processes)))

    return prepare


def measure_latency(
    systems: Mapping[str, Language | ExternalTagger],
    text: str,
    calls: int,
    *,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time `nlp(text)`.

    systems (Mapping[str, Language | ExternalTagger]): the systems by name.
    text (str): the text.
    calls (int): number of timed calls.
    clock (Clock): the clock.
    RETURNS (list[Timing]): the times, with amounts in words.
    """
    tasks = {
        (name, ""): system.call(text) if isinstance(system, ExternalTagger) else _call(system, text)
        for name, system in systems.items()
    }
    # Collecting garbage before each call would empty the caches of the processor.
    return time_in_turn(tasks, calls, title="latency", collect=False, clock=clock)


def _call(nlp: Language, text: str) -> Task:
    return lambda: lambda: len(nlp(text))


def shapes(sizes: Sizes) -> list[Shape]:
    """List the sizes of Docs to compare.

    sizes (Sizes): the amounts to measure.
    RETURNS (list[Shape]): Docs of each length, then few and many Docs.
    """
    lengths = [
        Shape(max(sizes.length_words // tokens, 1), tokens, with_starts)
        for tokens in sizes.lengths
        for with_starts in (True, False)
    ]
    return [*lengths, *(Shape(docs, None, True) for docs in sizes.numbers)]


def measure_lengths(
    pipelines: Mapping[str, Language],
    passages: Sequence[Passage],
    shapes: Collection[Shape],
    rounds: int,
    *,
    clock: Clock = time.perf_counter,
) -> dict[Shape, list[Timing]]:
    """Time `nlp.pipe` on Docs of different lengths, and on different numbers of Docs.

    pipelines (Mapping[str, Language]): the pipelines by name.
    passages (Sequence[Passage]): the data.
    shapes (Iterable[Shape]): the lengths and numbers of Docs.
    rounds (int): number of timed rounds.
    clock (Clock): the clock.
    RETURNS (dict[Shape, list[Timing]]): the times of each pipeline, with amounts in words.
    """
    tasks: dict[tuple[str, str], Task] = {}
    for shape in shapes:
        docs = reshape(passages, shape)
        for name, nlp in pipelines.items():
            tasks[name, str(shape)] = prediction_task(nlp, docs)
    timings = time_in_turn(tasks, rounds, title="lengths", clock=clock)
    return {shape: [one for one in timings if one.variant == str(shape)] for shape in shapes}
