"""The memory that prediction holds over a long stream of words."""

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from .passages import Passage, stream
from .prediction import Sizes, System, load_system, our_shims

_STATM = Path("/proc/self/statm")  # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process of its own, over a stream of words.

    system (str): whose.
    words (list[int]): how many had been tagged at each measurement.
    mebibytes (list[float]): the memory at that time.
    cached (list[float]): the mebibytes of it that our word caches had filled.
    strings (list[int]): entries of the vocab's string store at that time.
    """

    system: str
    words: list[int]
    mebibytes: list[float]
    cached: list[float]
    strings: list[int]


def resident_memory() -> float | None:
    """Read the memory that this process holds.

    RETURNS (float | None): mebibytes; `None` except on Linux.
    """
    if not _STATM.exists():
        return None
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE


def measure_memory(
    systems: Iterable[System], passages: Sequence[Passage], sizes: Sizes, threads: int
) -> list[Memory]:
    """Measure the memory of each system over a long stream, in a process of its own.

    systems (Iterable[System]): the systems.
    passages (Sequence[Passage]): the data that the stream is made of.
    sizes (Sizes): how long the stream is.
    threads (int): of torch.
    RETURNS (list[Memory]): empty except on Linux.
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
    """Run a pipeline over a stream, and measure this process's memory on the way.

    system (System): the system.
    passages (Sequence[Passage]): see `stream`.
    n_words (int): see `stream`.
    steps (int): how often to measure, after the first time, which is before the stream begins.
    threads (int): of torch.
    RETURNS (Memory): the measurements.
    RAISES (ValueError): see `load_system`.
    """
    torch.set_num_threads(threads)
    nlp = load_system(system)
    shims = our_shims(nlp)
    memory = Memory(system.name, [], [], [], [])
    n_done = 0

    def measure() -> None:
        memory.words.append(n_done)
        memory.mebibytes.append(resident_memory() or float("nan"))
        memory.cached.append(sum(shim.cache.n_bytes for shim in shims) / _MEBIBYTE)
        memory.strings.append(len(nlp.vocab.strings))

    measure()
    # A batch is made before its first Doc comes out: one of more words than a step would hide it.
    mean_length = sum(map(len, passages)) / len(passages)
    batch_size = max(min(nlp.batch_size, int(n_words / steps / mean_length)), 1)
    docs = (passage.doc(nlp.vocab) for passage in stream(passages, n_words))
    for doc in nlp.pipe(docs, batch_size=batch_size):
        n_done += len(doc)
        if n_done >= len(memory.words) * n_words / steps:
            measure()
    return memory
