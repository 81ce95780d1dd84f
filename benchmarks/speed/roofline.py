"""How near the GRU's recurrence comes to the peak of the machine."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from spacy.language import Language
from torch import Tensor, nn

from bigru_tagger.network import encoder
from bigru_tagger.network.gru import SharedInput, predict_gru

from .passages import Passage
from .prediction import prediction_task
from .timing import Clock, Task, Timing, time_in_turn


@dataclass(frozen=True)
class Roofline:
    """How near the recurrence comes to the peak of the machine.

    matrix (int): rows and columns of the matrices whose product is the peak.
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
        one that is not on the CPU, are omitted.
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
                prepared = SharedInput(rows, torch.arange(len(vectors)), is_prepared=True)
            calls.append((directions, backward, lengths, vectors[:, :0], recurrence, prepared))
            return run(*args)

        return recorded

    with replaced(encoder, "predict_gru", record):
        prediction_task(nlp, passages)()()
    return calls


def _recur(recurrences: Sequence[tuple[Any, ...]], n_words: int) -> Task:
    def work() -> int:
        with torch.inference_mode():
            for arguments in recurrences:
                predict_gru(*arguments)
        return n_words

    return lambda: work


@contextmanager
def replaced(
    owner: type | ModuleType, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Put another function in a function's place for the length of the context.

    owner (type | ModuleType): the class or module whose own function it is.
    name (str): the function's name.
    wrap (Callable): from the function to the other one.
    RAISES (AttributeError): the function does not exist, as after it was renamed.
    """
    original = vars(owner).get(name)
    if not callable(original):
        raise AttributeError(
            f"{owner.__name__} has no function {name!r} of its own to record: if it was renamed, "
            "rename it in benchmarks/speed/roofline.py, too"
        )
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        setattr(owner, name, original)
