"""Time tasks in turn."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from tqdm import tqdm

Clock: TypeAlias = Callable[[], float]
"""Returns the seconds since a fixed moment."""

Work: TypeAlias = Callable[[], int]
"""Does the timed work, and returns its amount, such as the number of words."""

Task: TypeAlias = Callable[[], Work]
"""Does the preparation, which is not timed, and returns the work."""


@dataclass(frozen=True)
class Timing:
    """The times of one task.

    system (str): the name of the system.
    variant (str): the variant, such as "cold"; "" if there is only one.
    amounts (tuple[int, ...]): the amount of work in each round, such as the number of words.
    seconds (tuple[float, ...]): the duration of each round.
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
        """The median amount per second over the rounds."""
        return median(self.speeds)


def time_in_turn(
    tasks: Mapping[tuple[str, str], Task],
    rounds: int,
    *,
    title: str = "",
    collect: bool = True,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time tasks in turn, A B C A B C, so that a slow phase of the machine affects all of them.

    A warm-up round before the first one is not timed.

    tasks (Mapping[tuple[str, str], Task]): the tasks by system and variant.
    rounds (int): number of timed rounds.
    title (str): the title of the progress bar.
    collect (bool): whether to collect garbage before each run, and not only once.
    clock (Clock): the clock.
    RETURNS (list[Timing]): one timing per task, in the order of the tasks.
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
