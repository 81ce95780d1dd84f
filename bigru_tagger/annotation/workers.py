"""Annotate shards in worker processes that are replaced if they are killed."""

import signal
import sys
from collections import Counter, deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from spacy.util import import_file

from ..base_error import Error
from ..errors import InputError
from .annotator import Annotator
from .shards import Format, Result, Shard, annotate_shard

MAX_ATTEMPTS = 3


class WorkerError(Error, RuntimeError):
    """A shard failed several times."""


@dataclass(frozen=True)
class Job:
    """What workers do with shards.

    annotator (Annotator): The annotator.
    folder (Path): The output folder.
    format_ (Format): The format of the output.
    code (Path | None): A Python file to import before the pipeline is loaded.
    """

    annotator: Annotator
    folder: Path
    format_: Format
    code: Path | None = None


class _Ready(NamedTuple):
    """The pipeline is loaded."""


class _Failed(NamedTuple):
    """An error; with `is_final`, another attempt would fail, too."""

    message: str
    is_final: bool


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    shard: Shard | None = None


def annotate_shards(
    job: Job, shards: Iterable[Shard], n_workers: int
) -> Generator[tuple[Shard, Result]]:
    """Annotate shards in processes.

    A shard whose process is killed or fails is annotated again, at most `MAX_ATTEMPTS` times. The
    shards are read as they are needed: at most one per worker is in memory, and those to repeat.

    job (Job): What to do with each shard.
    shards (Iterable[Shard]): The shards.
    n_workers (int): The number of processes.
    YIELDS (tuple[Shard, Result]): The finished shards, as they are finished.
    RAISES (InputError): The pipeline cannot be loaded, or the input cannot be annotated with these
        settings. (WorkerError): A shard failed several times.
    """
    stream = iter(shards)
    repeated: deque[Shard] = deque()
    attempts: Counter[int] = Counter()
    workers: list[_Worker] = []
    # Start no process if there is nothing to do.
    first = next(stream, None)
    if first is not None:
        repeated.append(first)
        workers = [_start(job) for _ in range(n_workers)]
    try:
        while workers:
            by_connection = {worker.connection: worker for worker in workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]  # type: ignore[index]
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    message = _end(worker)
                    workers.remove(worker)
                if isinstance(message, Result) and worker.shard is not None:
                    yield worker.shard, message
                elif isinstance(message, _Failed):
                    _count_attempt(job, worker.shard, message, attempts)
                    if worker.shard is not None:
                        repeated.append(worker.shard)
                if worker not in workers:
                    workers.append(_start(job))
                    continue
                worker.shard = repeated.popleft() if repeated else next(stream, None)
                if worker.shard is None:
                    # If a shard fails later, its worker or a new one repeats it.
                    workers.remove(worker)
                    _end(worker)
                else:
                    with suppress(OSError):  # a killed process is noticed above
                        worker.connection.send(worker.shard)
    finally:
        for worker in workers:
            worker.process.terminate()
            _end(worker)


def _count_attempt(job: Job, shard: Shard | None, failed: _Failed, attempts: Counter[int]) -> None:
    """Raise an error if a shard, or the loading of the pipeline, has failed too often."""
    if failed.is_final:
        raise InputError(failed.message)
    number = -1 if shard is None else shard.number
    attempts[number] += 1
    if attempts[number] < MAX_ATTEMPTS:
        return
    if shard is None:
        raise WorkerError(f"{job.annotator.model} was not loaded: {failed.message}")
    raise WorkerError(
        f"{shard.path(job.folder, job.format_).name} failed {MAX_ATTEMPTS} times, with the rows "
        f"from {shard.rows[0].source} to {shard.rows[-1].source}: {failed.message}"
    )


def _start(job: Job) -> _Worker:
    # Not "fork": such a process holds open our end of the connection, and does not see that this
    # process is killed.
    method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
    context: Any = get_context(method)
    context.set_forkserver_preload([__name__])  # processes share what it imports
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _end(worker: _Worker) -> _Failed:
    """End a process, and describe how it ended."""
    worker.connection.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    hint = ", perhaps for lack of memory: use fewer --workers" if code == -9 else ""
    return _Failed(f"its process {how}{hint}", is_final=False)


def _work(connection: Connection, job: Job) -> None:
    """Annotate the shards that come from a connection, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    try:
        if job.code is not None:
            import_file("python_code", job.code)
        _ = job.annotator.nlp
    except Exception as error:
        connection.send(_Failed(str(error), is_final=True))
        return
    try:
        connection.send(_Ready())
        while True:
            shard = connection.recv()
            message: Result | _Failed
            try:
                message = annotate_shard(job.annotator, shard, job.folder, job.format_)
            except InputError as error:
                message = _Failed(str(error), is_final=True)
            except Exception as error:
                message = _Failed(f"{type(error).__name__}: {error}", is_final=False)
            connection.send(message)
    except (EOFError, OSError):  # the parent is done, or was killed
        sys.exit()
