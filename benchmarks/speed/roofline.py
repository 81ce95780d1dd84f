"""Compare the speed of the recurrent layers with the peak of the machine."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from spacy.language import Language

from bigru_tagger.model.devices import one_blas_thread
from bigru_tagger.runtime.recurrent import Layer
from bigru_tagger.runtime.spec import NetworkSpec

from .passages import Passage
from .prediction import our_shims, prediction_task
from .timing import Clock, Task, Timing, time_in_turn

_GATES = {"gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Roofline:
    """The speed of recurrent layers in NumPy, and the peak of the machine.

    matrix (int): rows and columns of the matrices whose product measures the peak.
    product (Timing): the times of that product, with amounts in FLOPs.
    flops (dict[str, int]): FLOPs of the recurrent products per word, by system.
    recurrences (list[Timing]): the times of only the recurrent layers, with amounts in words.
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


def recurrent_flops(spec: NetworkSpec) -> int:
    """Count the operations of the products W_h h for one word.

    spec (NetworkSpec): the structure of the network.
    RETURNS (int): one multiplication and one addition per weight: 2 · 3 · units² for each layer and
        direction of a GRU.
    """
    n_blocks = (1 + spec.bidirectional) * _GATES[spec.cell]
    return 2 * n_blocks * sum(units**2 for units in spec.hidden)


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

    pipelines (Mapping[str, Language]): the pipelines by name. Pipelines without recurrent layers
        that run in NumPy are left out.
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
            shims = [shim for shim in our_shims(nlp) if shim.uses_numpy]
            flops[name] = sum(recurrent_flops(shim.spec) for shim in shims)
            tasks[name, ""] = _recur(recurrences, n_words)
    product, *timings = time_in_turn(tasks, rounds, title="roofline", clock=clock)
    return Roofline(matrix, product, flops, timings)


def _product(size: int) -> Task:
    left, right = np.random.default_rng(0).random((2, size, size), np.float32)

    def work() -> int:
        with one_blas_thread():
            left @ right
        return 2 * size**3

    return lambda: work


def _recurrences(nlp: Language, passages: Sequence[Passage]) -> list[tuple[Any, ...]]:
    # The arguments of each layer and batch, with the projected input in a table. If prediction has
    # no such table, its values are random.
    calls: list[tuple[Any, ...]] = []

    def record(run: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def recorded(layer: Layer, *arguments: Any) -> np.ndarray:
            states = run(layer, *arguments)
            runs, shared, _ = arguments
            if shared is None:
                width = layer.project(np.zeros((1, 1), np.float32)).shape[1]
                rows = np.random.default_rng(0).random((len(states), width), np.float32)
                shared = rows, np.arange(len(states))
            calls.append((layer, runs, shared, None))
            return states

        return recorded

    with replaced(Layer, "__call__", record):
        prediction_task(nlp, passages)()()
    return calls


def _recur(recurrences: Sequence[tuple[Any, ...]], n_words: int) -> Task:
    def work() -> int:
        with one_blas_thread(), np.errstate(over="ignore"):
            for layer, *arguments in recurrences:
                layer(*arguments)
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
