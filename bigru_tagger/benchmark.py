"""How fast pipelines predict and train, measured side by side in one run."""

import itertools
import multiprocessing
import os
import random
import re
import string
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches, train_while_improving
from spacy.util import load_config, registry, resolve_dot_names
from spacy.vocab import Vocab
from thinc.api import Config, Model
from torch import Tensor, nn

from . import adapter, encoder
from .chunker import BiGRUChunker
from .cli import load_pipeline
from .component import SequenceTagger
from .context import ContextPooling
from .corpus import open_corpus
from .encoder import BiGRUEncoder
from .gru import predict_gru
from .ner import BiGRUNer
from .network import Network
from .scoring import same_words
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
    "embedding": [(adapter, "_read"), (NetworkShim, "prepare"), (Network, "_embed_tokens")],
    "encoder": [(BiGRUEncoder, "forward")],
    "context": [(ContextPooling, "forward")],
    "rest of the model": [(SequenceTagger, "emissions"), (NetworkShim, "predict")],
    "decoding": [(SpanTagger, "predict"), (BiGRUTokenTagger, "predict")],
    "writing to Docs": [
        (BiGRUNer, "set_annotations"),
        (BiGRUTokenTagger, "set_annotations"),
        (BiGRUChunker, "set_annotations"),
    ],
}

_SYSTEM = re.compile(r"(?P<name>[^=]+)=(?P<pipeline>.+?)(:(?P<keep>[\w.-]+(,[\w.-]+)*))?")
_SHORT = range(8, 16)  # tokens of a short sentence
_INVENTED = 0.05  # share of the stream's words that nobody has seen before
_STATM = Path("/proc/self/statm")  # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
_MEBIBYTE = 2**20
_NEVER = sys.maxsize  # steps until training evaluates


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
class Passage:
    """The tokens of a Doc, before there is one.

    words (list[str]): the tokens.
    spaces (list[bool]): whether a space follows each.
    starts (list[bool | int | None] | None): whether a sentence starts at each; `None` if nobody
        says so.
    """

    words: list[str]
    spaces: list[bool]
    starts: list[bool | int | None] | None

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.words)

    def doc(self, vocab: Vocab) -> Doc:
        """Make a Doc of them, without any other annotation.

        vocab (Vocab): its vocabulary.
        RETURNS (Doc): a new Doc.
        """
        return Doc(vocab, words=self.words, spaces=self.spaces, sent_starts=self.starts)


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
class Shape:
    """Docs of one size.

    docs (int): how many.
    tokens (int | None): in each; `None` for a sentence of the data.
    with_starts (bool): whether sentence starts are known, where the data have them.
    """

    docs: int
    tokens: int | None
    with_starts: bool

    def __str__(self) -> str:
        """Describe it for a table."""
        tokens = "of one sentence" if self.tokens is None else f"of {self.tokens:,} tokens"
        known = "with" if self.with_starts else "without"
        return f"{self.docs:,} Doc{'s' * (self.docs != 1)} {tokens}, {known} sentence starts"


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


def read_passages(
    data: str, *, split: str, n_sents: int | None = None, limit: int | None = None
) -> list[Passage]:
    """Read the tokens of gold data, and the sentence starts that a pipeline may know.

    data (str): what `open_corpus` takes.
    split (str): the split.
    n_sents (int | None): sentences per Doc, 0 for whole documents; `None` for the reader's default.
    limit (int | None): stop at the Doc with which there are so many words.
    RETURNS (list[Passage]): at least one, none of them empty.
    RAISES (ValueError): the data cannot be read, or have no tokens.
    """
    options = {} if n_sents is None else {"sentences_per_doc": n_sents}
    try:
        corpus = open_corpus(data, split=split, **options)
    except TypeError as error:  # a .spacy file has its documents already
        raise ValueError(f"--n-sents: {error}") from error
    passages: list[Passage] = []
    n_words = 0
    for eg in corpus(spacy.blank("en")):
        if limit is not None and n_words >= limit:
            break
        if len(eg.reference):
            passages.append(_read_passage(eg))
            n_words += len(eg.reference)
    if not passages:
        raise ValueError(f"{data}: there are no tokens to measure with: check the split {split!r}")
    return passages


def _read_passage(eg: Example) -> Passage:
    doc = eg.reference
    known = same_words(eg) and eg.predicted.has_annotation("SENT_START")
    return Passage(
        words=[token.text for token in doc],
        spaces=[bool(token.whitespace_) for token in doc],
        starts=[token.is_sent_start for token in eg.predicted] if known else None,
    )


def join(passages: Iterable[Passage]) -> Passage:
    """Make one passage of several; a sentence starts at each.

    passages (Iterable[Passage]): none of them empty.
    RETURNS (Passage): the joined one.
    """
    passages = list(passages)
    starts: list[bool | int | None] = []
    for passage in passages:
        given = passage.starts or [False] * len(passage)
        starts += [True, *(bool(start) for start in given[1:])]
    return Passage(
        words=[word for passage in passages for word in passage.words],
        spaces=[space for passage in passages for space in passage.spaces],
        starts=starts,
    )


def part(passages: Iterable[Passage]) -> list[Passage]:
    """Make a passage of each sentence.

    passages (Iterable[Passage]): none of them empty.
    RETURNS (list[Passage]): the sentences.
    """
    whole = join(passages)
    bounds = [*(i for i, start in enumerate(whole.starts or []) if start), len(whole)]
    return [
        Passage(whole.words[i:j], whole.spaces[i:j], [True, *[False] * (j - i - 1)])
        for i, j in itertools.pairwise(bounds)
    ]


def reshape(passages: Sequence[Passage], shape: Shape) -> list[Passage]:
    """Cut the data to Docs of one size, and begin again where they end.

    passages (Sequence[Passage]): the data.
    shape (Shape): what is needed.
    RETURNS (list[Passage]): the Docs.
    """
    if shape.tokens is None:
        cut = list(itertools.islice(itertools.cycle(part(passages)), shape.docs))
    else:
        whole = join(passages)
        known = whole.starts or []
        cut = []
        for doc in range(shape.docs):
            begin = doc * shape.tokens
            tokens = [i % len(whole) for i in range(begin, begin + shape.tokens)]
            starts = [True, *(known[i] for i in tokens[1:])]
            cut.append(
                Passage([whole.words[i] for i in tokens], [whole.spaces[i] for i in tokens], starts)
            )
    if shape.with_starts:
        return cut
    return [Passage(passage.words, passage.spaces, None) for passage in cut]


def stream(
    passages: Sequence[Passage], n_words: int, *, invented: float = _INVENTED, seed: int = 0
) -> Iterator[Passage]:
    """Repeat the data with new words in it, so that the vocabulary goes on growing.

    passages (Sequence[Passage]): the data.
    n_words (int): where to stop; the last Doc is whole.
    invented (float): share of the words that are random letters.
    seed (int): of the random numbers.
    YIELDS (Passage): a Doc.
    """
    generator = random.Random(seed)
    for passage in itertools.cycle(passages):
        if n_words <= 0:
            return
        n_words -= len(passage)
        words = [
            _invent(generator) if generator.random() < invented else word for word in passage.words
        ]
        yield Passage(words, passage.spaces, passage.starts)


def _invent(generator: random.Random) -> str:
    return "".join(generator.choices(string.ascii_lowercase, k=10))


def short_text(passages: Sequence[Passage]) -> str:
    """Choose a short sentence from the data.

    passages (Sequence[Passage]): the data.
    RETURNS (str): the first sentence of 8 to 15 tokens; the first of all if there is none.
    """
    sentences = part(passages)
    short = next((sentence for sentence in sentences if len(sentence) in _SHORT), sentences[0])
    tokens = zip(short.words, short.spaces, strict=True)
    return "".join(word + " " * space for word, space in tokens).strip()


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


def parse_training(text: str) -> tuple[str, Path]:
    """Read NAME=CONFIG.

    text (str): the text.
    RETURNS (tuple[str, Path]): the name, and the config.
    RAISES (ValueError): it is something else, or there is no such file.
    """
    name, _, config = text.partition("=")
    if not name or not config:
        raise ValueError(f"--train {text}: write NAME=CONFIG")
    if not Path(config).is_file():
        raise ValueError(f"--train {text}: {config}: there is no such config")
    return name, Path(config)


def read_configs(configs: Mapping[str, Path], overrides: Mapping[str, Any]) -> dict[str, Config]:
    """Read training configs; each gets the overrides of settings that it has.

    configs (Mapping[str, Path]): the files by name.
    overrides (Mapping[str, Any]): settings by their dotted names; with the name of a config in
        front, for that one alone.
    RETURNS (dict[str, Config]): the configs by name.
    RAISES (ValueError): no config has one of the settings.
    """
    found: dict[str, Config] = {}
    used: set[str] = set()
    for name, path in configs.items():
        config = load_config(path)
        settings = {}
        for prefix in ("", f"{name}."):  # what is for this one alone comes last, and counts
            for setting, value in overrides.items():
                own = setting.removeprefix(prefix)
                if setting.startswith(prefix) and _has_setting(config, own):
                    settings[own] = value
                    used.add(setting)
        found[name] = load_config(path, overrides=settings)
    unknown = [setting for setting in overrides if setting not in used]
    if unknown:
        raise ValueError(
            f"--{unknown[0]}: none of the configs {', '.join(map(str, configs.values()))} has this "
            "setting. Write the setting's whole name, such as --paths.data, or with the name that "
            "--train gives a config in front, for that one alone"
        )
    return found


def _has_setting(config: Mapping[str, Any], setting: str) -> bool:
    *sections, option = setting.split(".")
    block: Any = config
    for section in sections:
        block = block.get(section) if isinstance(block, Mapping) else None
    return isinstance(block, Mapping) and option in block


def measure_training(
    configs: Mapping[str, Config],
    rounds: int,
    *,
    n_words: int,
    from_step: int = 0,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time steps of `spacy train`, without its evaluations.

    configs (Mapping[str, Config]): the configs by name.
    rounds (int): how often.
    n_words (int): the steps of a round go on until there are so many.
    from_step (int): batches to leave out before, since those of some batchers grow at first.
    clock (Clock): the clock.
    RETURNS (list[Timing]): in words.
    """
    tasks = {
        (name, ""): _training(_steps(config, from_step), n_words)
        for name, config in configs.items()
    }
    return time_in_turn(tasks, rounds, title="training", clock=clock)


def _steps(config: Config, from_step: int) -> Iterator[int]:
    # The words of each step, when it is done: spaCy's own loop, which goes on for ever.
    nlp = init_nlp(config)
    filled = nlp.config.interpolate()
    settings = registry.resolve(filled["training"], schema=ConfigSchemaTraining)
    (corpus,) = resolve_dot_names(filled, [settings["train_corpus"]])
    batches = create_train_batches(nlp, corpus, settings["batcher"], min(settings["max_epochs"], 0))
    steps = train_while_improving(
        nlp,
        settings["optimizer"],
        itertools.islice(batches, from_step, None),
        lambda: (0.0, {}),
        dropout=settings["dropout"],
        accumulate_gradient=settings["accumulate_gradient"],
        patience=0,
        max_steps=0,
        eval_frequency=_NEVER,
        exclude=settings["frozen_components"],
        annotating_components=settings["annotating_components"],
        before_update=settings["before_update"],
    )
    for batch, _, _ in steps:
        yield sum(len(eg) for eg in batch)


def _training(steps: Iterator[int], n_words: int) -> Task:
    def work() -> int:
        done = 0
        while done < n_words:
            done += next(steps)
        return done

    return lambda: work
