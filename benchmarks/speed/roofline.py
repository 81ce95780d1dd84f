"""Compare the speed of the GRU's recurrence with the peak of the machine."""

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
    """The speed of the GRU's recurrence, and the peak of the machine.

    matrix (int): rows and columns of the matrices whose product measures the peak.
    product (Timing): the times of that product, with amounts in FLOPs.
    flops (dict[str, int]): FLOPs of the recurrent products per word, by system.
    recurrences (list[Timing]): the times of only `predict_gru`, for all layers, with amounts in
        words.
    """

    matrix: int
    product: Timing
    flops: dict[str, int]
    recurrences: list[Timing]

    @property
    def peak(self) -> float:
        """FLOPs per second of the fastest round of the product."""
        return max(self.product.speeds)

    def share(self, timing: Timing) -> float:
        """Compute the share of the peak that a recurrence reaches.

        timing (Timing): one of `recurrences`.
        RETURNS (float): the share, from 0 to about 1.
        """
        return timing.speed * self.flops[timing.system] / self.peak


def recurrent_flops(directions: Iterable[nn.RNNBase]) -> int:
    """Count the operations of the products W_h h for one word.

    directions (Iterable[RNNBase]): all directions of all layers.
    RETURNS (int): one multiplication and one addition per weight: 2 · 3 · units² for a GRU.
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
    """Time only the recurrences of prediction, and a large matrix product.

    The recurrences run on the same sequences as in prediction. Their input is computed before, so
    their only matrix products are W_h h.

    pipelines (Mapping[str, Language]): the pipelines by name. Pipelines without a GRU of this
        package on the CPU are left out.
    passages (Sequence[Passage]): the data.
    rounds (int): number of timed rounds.
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
            # One call per layer and batch.
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
    # The arguments of `predict_gru` for each layer and batch, with the input in a prepared table.
    # If prediction has no such table, its values are random.
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
    """Replace a function within the context.

    owner (type | ModuleType): the class or module that defines the function.
    name (str): the name of the function.
    wrap (Callable): takes the function and returns the replacement.
    RAISES (AttributeError): the function does not exist.
    """
    original = vars(owner).get(name)
    if not callable(original):
        raise AttributeError(
            f"{owner.__name__} defines no function {name!r}: if it was renamed, change its name in "
            "benchmarks/speed/roofline.py, too"
        )
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        setattr(owner, name, original)
