"""How fast pipelines predict, measured side by side in one run."""

import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from thinc.api import Model
from torch import Tensor, nn

from . import adapter, batches, encoder
from .chunker import BiGRUChunker
from .component import SequenceTagger
from .context import ContextPooling
from .encoder import BiGRUEncoder
from .gru import predict_gru
from .loading import load_pipeline
from .ner import BiGRUNer
from .network import Network
from .passages import Passage, Shape, reshape, stream
from .shim import NetworkShim
from .spans import SpanTagger
from .tagger import BiGRUTokenTagger
from .timing import Clock, StageClock, Task, Timing, Work, replaced, time_in_turn

COLD = "cold"
"""The variant whose word cache was emptied before each run."""

# By stage, whose time is its. A function counts without the functions in here that it calls, so
# the last but one holds what is left of the model: the output layer, and the way through thinc.
STAGES: Mapping[str, Sequence[tuple[Any, str]]] = {
    "features": [(adapter, "read_prepared"), (adapter, "read_batch")],
    "embedding": [(batches, "_read"), (NetworkShim, "prepare"), (Network, "_embed_tokens")],
    "encoder": [(BiGRUEncoder, "forward")],
    "context": [(ContextPooling, "forward")],
    "rest of the model": [(SequenceTagger, "emissions"), (NetworkShim, "predict")],
    "decoding": [(SpanTagger, "decode"), (BiGRUTokenTagger, "decode")],
    "writing to Docs": [
        (BiGRUNer, "set_annotations"),
        (BiGRUTokenTagger, "set_annotations"),
        (BiGRUChunker, "set_annotations"),
    ],
}

_SYSTEM = re.compile(r"(?P<name>[^=]+)=(?P<pipeline>.+?)(:(?P<keep>[\w.-]+(,[\w.-]+)*))?")
_STATM = Path("/proc/self/statm")  # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    rounds (int): timed runs of each task.
    words (int | None): of the data, as whole Docs; `None` takes all.
    calls (int): of `nlp(text)`.
    matrix (int): rows and columns of the matrices whose product tells the peak.
    roofline_words (int): that the recurrence runs over.
    lengths (tuple[int, ...]): tokens of a Doc.
    length_words (int): of all Docs of a length together, unless one Doc has more.
    numbers (tuple[int, int]): of Docs, few and many.
    stream_words, stream_steps (int): words of the stream, and how often memory is looked at.
    train_words (int): of the batches of a round of training, at least.
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

    name (str): what to call it.
    pipeline (str): what `spacy.load` takes.
    keep (tuple[str, ...] | None): the components that run; `None` for those that run anyway.
    """

    name: str
    pipeline: str
    keep: tuple[str, ...] | None = None


@dataclass(frozen=True)
class StageTimes:
    """What the stages of prediction took.

    system, variant (str): see `Timing`.
    words (int): in each round.
    rounds (tuple[dict[str, float], ...]): seconds by stage, of each round.
    """

    system: str
    variant: str
    words: int
    rounds: tuple[dict[str, float], ...]

    @property
    def seconds(self) -> dict[str, float]:
        """The median of each stage over the rounds."""
        return {
            stage: float(np.median([r[stage] for r in self.rounds])) for stage in self.rounds[0]
        }


@dataclass(frozen=True)
class Roofline:
    """How near the recurrence comes to the peak of the machine.

    matrix (int): rows and columns of the matrices whose product tells the peak.
    product (Timing): of that product, in FLOPs.
    flops (dict[str, int]): by system, FLOPs of the recurrent products per word.
    recurrences (list[Timing]): of `predict_gru` alone, in words, over all layers.
    """

    matrix: int
    product: Timing
    flops: dict[str, int]
    recurrences: list[Timing]

    @property
    def peak(self) -> float:
        """FLOPs per second of the fastest product."""
        return max(self.product.speeds)

    def share(self, timing: Timing) -> float:
        """Give the share of the peak that a recurrence reaches.

        timing (Timing): one of `recurrences`.
        RETURNS (float): from 0 to about 1.
        """
        return timing.speed * self.flops[timing.system] / self.peak


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process of its own, over a stream of words.

    system (str): whose.
    words (list[int]): how many had come when it was looked at.
    mebibytes (list[float]): the memory then.
    strings (list[int]): entries of the vocab's string store then.
    """

    system: str
    words: list[int]
    mebibytes: list[float]
    strings: list[int]


def parse_system(text: str) -> System:
    """Read NAME=PIPELINE or NAME=PIPELINE:COMPONENT,COMPONENT.

    text (str): the text. What is a path with its colon is taken as one.
    RETURNS (System): the system.
    RAISES (ValueError): it is neither.
    """
    found = _SYSTEM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"--model {text}: write NAME=PIPELINE, or NAME=PIPELINE:COMPONENT,COMPONENT to keep "
            "some of its components only"
        )
    name, _, whole = text.partition("=")
    if found["keep"] is None or Path(whole).exists():
        return System(name, whole)
    return System(name, found["pipeline"], tuple(found["keep"].split(",")))


def load_system(system: System) -> Language:
    """Load a pipeline, and leave out the components that are not to run.

    system (System): what to load.
    RETURNS (Language): the pipeline.
    RAISES (ValueError): it cannot be loaded, or lacks a component that is to be kept.
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
    """Find our networks in a pipeline.

    nlp (Language): the pipeline.
    RETURNS (list[NetworkShim]): their shims, in the order of the components.
    """
    models = [getattr(pipe, "model", None) for _, pipe in nlp.pipeline]
    nodes = [node for model in models if isinstance(model, Model) for node in model.walk()]
    return [shim for node in nodes for shim in node.shims if isinstance(shim, NetworkShim)]


def measure_prediction(
    pipelines: Mapping[str, Language],
    passages: Sequence[Passage],
    rounds: int,
    *,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time `nlp.pipe` over new Docs of the data; ours also with an empty word cache.

    pipelines (Mapping[str, Language]): the pipelines by name.
    passages (Sequence[Passage]): the data.
    rounds (int): how often.
    clock (Clock): the clock.
    RETURNS (list[Timing]): in words.
    """
    tasks = {
        (name, variant): _prediction(nlp, passages, cold=variant == COLD)
        for name, nlp in pipelines.items()
        for variant in _variants(nlp)
    }
    return time_in_turn(tasks, rounds, title="prediction", clock=clock)


def _variants(nlp: Language) -> list[str]:
    return ["", COLD] if our_shims(nlp) else [""]


def _prediction(nlp: Language, passages: Sequence[Passage], *, cold: bool = False) -> Task:
    def prepare() -> Work:
        docs = [passage.doc(nlp.vocab) for passage in passages]
        if cold:
            for shim in our_shims(nlp):
                shim.cache.clear()
        return lambda: sum(map(len, nlp.pipe(docs)))

    return prepare


def measure_latency(
    pipelines: Mapping[str, Language], text: str, calls: int, *, clock: Clock = time.perf_counter
) -> list[Timing]:
    """Time `nlp(text)`.

    pipelines (Mapping[str, Language]): the pipelines by name.
    text (str): the text.
    calls (int): how often.
    clock (Clock): the clock.
    RETURNS (list[Timing]): in words.
    """
    tasks = {(name, ""): _call(nlp, text) for name, nlp in pipelines.items()}
    # Not before each call: that empties the processor's caches, which no user does.
    return time_in_turn(tasks, calls, title="latency", collect=False, clock=clock)


def _call(nlp: Language, text: str) -> Task:
    return lambda: lambda: len(nlp(text))


def measure_stages(
    pipelines: Mapping[str, Language],
    passages: Sequence[Passage],
    rounds: int,
    *,
    clock: Clock = time.perf_counter,
) -> list[StageTimes]:
    """Time the stages of prediction, of the pipelines that have a component of ours.

    pipelines (Mapping[str, Language]): the pipelines by name.
    passages (Sequence[Passage]): the data.
    rounds (int): how often.
    clock (Clock): the clock.
    RETURNS (list[StageTimes]): with the word cache as it is, and cold.
    RAISES (AttributeError): a function that belongs to a stage is not there any more.
    """
    tasks: dict[tuple[str, str], Task] = {}
    stages: dict[tuple[str, str], list[dict[str, float]]] = {}
    for name, nlp in pipelines.items():
        for variant in _variants(nlp) if our_shims(nlp) else ():
            key = (name, variant)
            stages[key] = []
            predict = _prediction(nlp, passages, cold=variant == COLD)
            tasks[key] = _by_stage(predict, stages[key], clock)
    words = sum(map(len, passages))
    time_in_turn(tasks, rounds, title="stages", clock=clock)
    # The first is the warm-up.
    return [StageTimes(*key, words, tuple(times[1:])) for key, times in stages.items()]


def _by_stage(task: Task, times: list[dict[str, float]], clock: Clock) -> Task:
    def prepare() -> Work:
        work = task()

        def run() -> int:
            with ExitStack() as stack:
                stages = StageClock(STAGES, clock)
                for stage, functions in STAGES.items():
                    for owner, name in functions:
                        wrap = _wrapper(stages, stage)
                        stack.enter_context(replaced(owner, name, wrap))
                words = work()
                stages.stop()
            times.append(stages.seconds)
            return words

        return run

    return prepare


def _wrapper(stages: StageClock, stage: str) -> Callable[..., Callable[..., Any]]:
    return lambda function: stages.wrap(stage, function)


def recurrent_flops(directions: Iterable[nn.RNNBase]) -> int:
    """Count the operations of the products W_h h for one word.

    directions (Iterable[RNNBase]): all directions of all layers.
    RETURNS (int): a multiplication and an addition for each weight: 2 · 3 · units² for a GRU.
    """
    return sum(2 * dict(rnn.named_parameters())["weight_hh_l0"].numel() for rnn in directions)


def measure_roofline(
    pipelines: Mapping[str, Language],
    passages: Sequence[Passage],
    rounds: int,
    *,
    matrix: int,
    clock: Clock = time.perf_counter,
) -> Roofline:
    """Time the recurrences of prediction alone, and a large product of matrices.

    The recurrences run as in prediction, over the sequences that prediction makes of the data. Of
    their input all has been prepared: they gather it, but multiply nothing but W_h h.

    pipelines (Mapping[str, Language]): the pipelines by name; those without a GRU of ours, or with
        one that is not on the CPU, are left out.
    passages (Sequence[Passage]): the data.
    rounds (int): how often.
    matrix (int): rows and columns of the matrices.
    clock (Clock): the clock.
    RETURNS (Roofline): the times.
    """
    tasks: dict[tuple[str, str], Task] = {("", "product"): _product(matrix)}
    flops = {}
    n_words = sum(map(len, passages))
    for name, nlp in pipelines.items():
        recurrences = _recurrences(nlp, passages)
        if recurrences:
            # A layer runs once for each batch.
            done = [
                recurrent_flops(gru) * int(lengths.sum()) for gru, _, lengths, *_ in recurrences
            ]
            flops[name] = sum(done) // n_words
            tasks[name, ""] = _recur(recurrences, n_words)
    product, *timings = time_in_turn(tasks, rounds, title="roofline", clock=clock)
    return Roofline(matrix, product, flops, timings)


def _product(size: int) -> Task:
    left, right = (torch.rand((size, size)) for _ in range(2))

    def work() -> int:
        torch.mm(left, right)
        return 2 * size**3

    return lambda: work


def _recurrences(nlp: Language, passages: Sequence[Passage]) -> list[tuple[Any, ...]]:
    # The arguments of `predict_gru`, a tuple for each layer and batch, with all of the input in a
    # prepared table: that of the words where there is one.
    calls: list[tuple[Any, ...]] = []

    def record(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def recorded(*args: Any) -> Tensor:
            directions, backward, lengths, vectors, recurrence, prepared = args
            if prepared is None:
                width = sum(3 * rnn.hidden_size for rnn in directions)
                rows = torch.rand((len(vectors), width))
                prepared = rows, torch.arange(len(vectors))
            calls.append((directions, backward, lengths, vectors[:, :0], recurrence, prepared))
            return run(*args)

        return recorded

    with replaced(encoder, "predict_gru", record):
        _prediction(nlp, passages)()()
    return calls


def _recur(recurrences: Sequence[tuple[Any, ...]], n_words: int) -> Task:
    def work() -> int:
        with torch.inference_mode():
            for arguments in recurrences:
                predict_gru(*arguments)
        return n_words

    return lambda: work


def shapes(sizes: Sizes) -> list[Shape]:
    """List the sizes of Docs to compare.

    sizes (Sizes): how much is measured.
    RETURNS (list[Shape]): Docs of all lengths, then few and many Docs.
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
    shapes: Iterable[Shape],
    rounds: int,
    *,
    clock: Clock = time.perf_counter,
) -> dict[Shape, list[Timing]]:
    """Time `nlp.pipe` over Docs of other lengths, and other numbers of Docs.

    pipelines (Mapping[str, Language]): the pipelines by name.
    passages (Sequence[Passage]): the data.
    shapes (Iterable[Shape]): which lengths and numbers.
    rounds (int): how often.
    clock (Clock): the clock.
    RETURNS (dict[Shape, list[Timing]]): in words, with an entry for each pipeline.
    """
    measured = {}
    for shape in shapes:
        docs = reshape(passages, shape)
        tasks = {(name, ""): _prediction(nlp, docs) for name, nlp in pipelines.items()}
        measured[shape] = time_in_turn(tasks, rounds, title=str(shape), clock=clock)
    return measured


def resident_memory() -> float | None:
    """Look at the memory that this process holds.

    RETURNS (float | None): mebibytes; `None` on systems that do not tell as Linux does.
    """
    if not _STATM.exists():
        return None
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE


def measure_memory(
    systems: Iterable[System], passages: Sequence[Passage], sizes: Sizes, threads: int
) -> list[Memory]:
    """Look at the memory of each system over a long stream, in a process of its own.

    systems (Iterable[System]): the systems.
    passages (Sequence[Passage]): the data that the stream is made of.
    sizes (Sizes): how long the stream is.
    threads (int): of torch.
    RETURNS (list[Memory]): none where the system does not tell.
    RAISES (ValueError): see `load_system`.
    """
    if resident_memory() is None:
        return []
    # Not forked: the memory of this process would be its own.
    context = multiprocessing.get_context("spawn")
    measured = []
    for system in systems:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            arguments = (system, passages, sizes.stream_words, sizes.stream_steps, threads)
            measured.append(pool.submit(run_stream, *arguments).result())
    return measured


def run_stream(
    system: System, passages: Sequence[Passage], n_words: int, steps: int, threads: int
) -> Memory:
    """Run a pipeline over a stream, and look at this process's memory on the way.

    system (System): the system.
    passages (Sequence[Passage]): see `stream`.
    n_words (int): see `stream`.
    steps (int): how often to look, beside the first time, before the stream begins.
    threads (int): of torch.
    RETURNS (Memory): what was seen.
    RAISES (ValueError): see `load_system`.
    """
    torch.set_num_threads(threads)
    nlp = load_system(system)
    memory = Memory(system.name, [], [], [])
    n_done = 0

    def look() -> None:
        memory.words.append(n_done)
        memory.mebibytes.append(resident_memory() or float("nan"))
        memory.strings.append(len(nlp.vocab.strings))

    look()
    # A batch is made before its first Doc comes out: one of more words than a step would hide it.
    mean_length = sum(map(len, passages)) / len(passages)
    batch_size = max(min(nlp.batch_size, int(n_words / steps / mean_length)), 1)
    docs = (passage.doc(nlp.vocab) for passage in stream(passages, n_words))
    for doc in nlp.pipe(docs, batch_size=batch_size):
        n_done += len(doc)
        if n_done >= len(memory.words) * n_words / steps:
            look()
    return memory
