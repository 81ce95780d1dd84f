"""Times of work that is done in turn."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from tqdm import tqdm

Clock: TypeAlias = Callable[[], float]
"""Gives seconds since any fixed moment."""

Work: TypeAlias = Callable[[], int]
"""Does the work that is timed, and gives its amount, such as the number of words."""

Task: TypeAlias = Callable[[], Work]
"""Prepares what is not to be timed, and gives the work."""


@dataclass(frozen=True)
class Timing:
    """What the rounds of one task took.

    system (str): who did it.
    variant (str): how, such as "cold"; empty where there is one way only.
    amounts (tuple[int, ...]): words, or what else was done, in each round.
    seconds (tuple[float, ...]): what each round took.
    """

    system: str
    variant: str
    amounts: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def speeds(self) -> list[float]:
        """Amount per second of each round."""
        return [n / seconds for n, seconds in zip(self.amounts, self.seconds, strict=True)]

    @property
    def speed(self) -> float:
        """The median of the rounds' amounts per second."""
        return median(self.speeds)


def time_in_turn(
    tasks: Mapping[tuple[str, str], Task],
    rounds: int,
    *,
    title: str = "",
    collect: bool = True,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time tasks in turn, A B C A B C, so that what slows the machine down slows all of them.

    A round before the first warms everything up and is not counted.

    tasks (Mapping[tuple[str, str], Task]): the tasks by system and variant.
    rounds (int): how often to time each.
    title (str): the title of the progress bar.
    collect (bool): collect garbage before each run; else only once.
    clock (Clock): the clock.
    RETURNS (list[Timing]): a timing for each task, in their order.
    """
    measured: dict[tuple[str, str], list[tuple[int, float]]] = {key: [] for key in tasks}
    gc.collect()
    # `disable=None`: no bar where standard error is not a terminal.
    with tqdm(total=(rounds + 1) * len(tasks), desc=title, leave=False, disable=None) as bar:
        for turn in range(rounds + 1):
            for key, task in tasks.items():
                work = task()
                if collect:
                    gc.collect()
                start = clock()
                amount = work()
                seconds = clock() - start
                if turn:
                    measured[key].append((amount, seconds))
                bar.update()
    return [
        Timing(*key, tuple(n for n, _ in runs), tuple(seconds for _, seconds in runs))
        for key, runs in measured.items()
    ]
