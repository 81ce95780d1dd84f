"""Measure the memory of prediction over a long stream of words."""

import multiprocessing
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from .passages import Passage, first_words, stream
from .prediction import Sizes, System, load_system, our_shims

_STATM = Path("/proc/self/statm")  # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
_MEBIBYTE = 2**20
ZONES = "memory zones"
"""The variant that runs in `nlp.memory_zone()`, one per measurement."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of a separate process, over a stream of words.

    system (str): the name of the system.
    words (list[int]): number of tagged words at each measurement.
    mebibytes (list[float]): the memory at each measurement, in MiB.
    cached (list[float]): the part of it in word caches of this package, in MiB.
    strings (list[int]): number of entries in the vocab's string store.
    variant (str): "", or `ZONES`.
    """

    system: str
    words: list[int]
    mebibytes: list[float]
    cached: list[float]
    strings: list[int]
    variant: str = ""


def resident_memory() -> float | None:
    """Read the resident memory of this process.

    RETURNS (float | None): the memory in MiB; `None` except on Linux.
    """
    if not _STATM.exists():
        return None
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE


def measure_memory(
    systems: Iterable[System], passages: Sequence[Passage], sizes: Sizes, threads: int
) -> list[Memory]:
    """Measure the memory of each system over a long stream, in separate processes.

    systems (Iterable[System]): the systems.
    passages (Sequence[Passage]): the data to make the stream of.
    sizes (Sizes): the length of the stream.
    threads (int): number of torch's threads.
    RETURNS (list[Memory]): the measurements of each system, without and with memory zones; empty
        except on Linux.
    RAISES (ValueError): see `load_system`.
    """
    if resident_memory() is None:
        return []
    # Not forked: the memory of this process would be included.
    context = multiprocessing.get_context("spawn")
    measured = []
    for system in systems:
        for variant in ("", ZONES):
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                arguments = (system, passages, sizes.stream_words, sizes.stream_steps, threads)
                measured.append(pool.submit(run_stream, *arguments, variant=variant).result())
    return measured


def run_stream(
    system: System,
    passages: Sequence[Passage],
    n_words: int,
    steps: int,
    threads: int,
    *,
    variant: str = "",
) -> Memory:
    """Run a pipeline on a stream, and measure the memory of this process meanwhile.

    system (System): the system.
    passages (Sequence[Passage]): see `stream`.
    n_words (int): see `stream`.
    steps (int): number of measurements, in addition to the one before the stream.
    threads (int): number of torch's threads.
    variant (str): "", or `ZONES`.
    RETURNS (Memory): the measurements.
    RAISES (ValueError): see `load_system`.
    """
    nlp = load_system(system)
    torch = sys.modules.get("torch")  # imported only if the pipeline needs it
    if torch is not None:
        torch.set_num_threads(threads)
    shims = our_shims(nlp)
    memory = Memory(system.name, [], [], [], [], variant)
    n_done = 0

    def measure() -> None:
        memory.words.append(n_done)
        memory.mebibytes.append(resident_memory() or float("nan"))
        memory.cached.append(sum(shim.cache.n_bytes for shim in shims) / _MEBIBYTE)
        memory.strings.append(len(nlp.vocab.strings))

    measure()
    remaining = stream(passages, n_words)
    for step in range(1, steps + 1):
        with nlp.memory_zone() if variant == ZONES else nullcontext():
            few = first_words(remaining, step * n_words / steps - n_done)
            n_done += sum(map(len, nlp.pipe(passage.doc(nlp.vocab) for passage in few)))
        measure()
    return memory
