"""Measure `bigru-tagger serve` under load: `scripts/load_server --help`."""

import asyncio
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Annotated, NamedTuple
from urllib.request import urlopen

import numpy as np
import spacy
import typer
from spacy.language import Language
from wasabi.tables import table

from .speed.passages import read_passages

_COMMAND = [sys.executable, "-c", "from bigru_tagger.cli import main; main()"]
_ADDRESS = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Load:
    """Answers to one round of requests, or calls of a pipeline.

    seconds (float): the time of the round.
    cpu (float): the CPU seconds of the process that predicts.
    latencies (list[float]): the seconds of each answer with status 200.
    refused (int): number of other answers.
    """

    seconds: float
    cpu: float
    latencies: list[float]
    refused: int = 0

    @property
    def rate(self) -> float:
        """RETURNS (float): answers per second."""
        return len(self.latencies) / self.seconds

    @property
    def rate_of_cpu(self) -> float:
        """RETURNS (float): answers per CPU second, which other processes affect less."""
        return len(self.latencies) / self.cpu

    def percentile(self, q: float) -> float:
        """Compute a percentile of the latencies.

        q (float): the percentage.
        RETURNS (float): the latency in milliseconds.
        """
        return float(np.percentile(self.latencies, q)) * 1000


def load_server(
    models: Annotated[list[str], typer.Argument(help="Pipelines, compared in turn.")],
    data: Annotated[str, typer.Option(help="Data with the texts.")] = "bigru_tagger/sample",
    *,
    split: Annotated[str, typer.Option(help="The split.")] = "test",
    sentences_per_text: Annotated[int, typer.Option(help="Sentences of a text.", min=1)] = 4,
    clients: Annotated[list[int] | None, typer.Option(help="Clients. Default: 1, 8, 64.")] = None,
    pipe: Annotated[str, typer.Option(help="The component to keep of each pipeline.")] = "ner",
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Rounds; medians are printed.", min=1)] = 3,
) -> None:
    """Print requests per second and latencies of servers, and of `nlp(text)` in a loop.

    Each client sends one text at a time, on a connection that stays open. Clients, servers and the
    loop run on this machine. The text of request i is the same for all.
    """
    passages = read_passages(data, split=split, sentences_per_doc=sentences_per_text, limit=50_000)
    texts = [passage.text for passage in passages]
    n_words = sum(map(len, passages)) / len(passages)
    typer.echo(f"{len(texts)} texts of {n_words:.0f} words on average")
    found: dict[tuple[str, str], list[Load]] = {}
    with ExitStack() as stack:
        systems = []
        for model in models:
            nlp = keep_component(spacy.load(model), pipe)
            place = Path(stack.enter_context(TemporaryDirectory())) / "model"
            nlp.to_disk(place)
            systems.append((Path(model).name, nlp, stack.enter_context(served(place)).port))
        for _ in range(rounds):
            for name, nlp, port in systems:
                found.setdefault((name, "nlp(text) in a loop"), []).append(
                    call(nlp, texts, seconds)
                )
                for n in clients or (1, 8, 64):
                    load = asyncio.run(request(port, texts, n, seconds))
                    found.setdefault((name, f"{n} clients"), []).append(load)
    rows = [
        (
            *key,
            f"{np.median([load.rate for load in loads]):.0f}",
            f"{np.median([load.rate_of_cpu for load in loads]):.0f}",
            f"{np.median([load.percentile(50) for load in loads]):.1f}",
            f"{np.median([load.percentile(99) for load in loads]):.1f}",
            sum(load.refused for load in loads),
        )
        for key, loads in found.items()
    ]
    header = ("pipeline", "", "texts/s", "per CPU s", "p50, ms", "p99, ms", "refused")
    typer.echo(table(rows, header=header, divider=True, aligns=("l", "l", *"rrrrr")))


def keep_component(nlp: Language, name: str) -> Language:
    """Remove all other components.

    nlp (Language): the pipeline, which is modified.
    name (str): the name of a component that does not need others.
    RETURNS (Language): the pipeline.
    RAISES (ValueError): there is no such component.
    """
    if name not in nlp.pipe_names:
        raise ValueError(f"no component {name!r} in {', '.join(nlp.pipe_names)}: set --pipe")
    for other in nlp.pipe_names:
        if other != name:
            nlp.remove_pipe(other)
    return nlp


class Server(NamedTuple):
    """A server on this machine.

    port (int): its port.
    process (subprocess.Popen[str]): its process.
    log (list[str]): the lines of its log, up to now.
    """

    port: int
    process: "subprocess.Popen[str]"
    log: list[str]


@contextmanager
def served(model: str | Path, *options: str) -> Iterator[Server]:
    """Serve a pipeline in a process of its own.

    model (str | Path): the pipeline.
    options (str): further arguments of the command `serve`.
    YIELDS (Server): the server. It is stopped at the end.
    RAISES (RuntimeError): the server does not start.
    """
    command = [*_COMMAND, "serve", str(model), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        log: list[str] = []
        for line in process.stderr:
            log.append(line)
            if address := _ADDRESS.search(line):
                break
        else:
            raise RuntimeError(f"the server did not start:\n{''.join(log)}")
        rest = Thread(target=log.extend, args=[process.stderr])  # a full pipe would block it
        rest.start()
        try:
            yield Server(int(address[1]), process, log)
        finally:
            process.terminate()
            rest.join()


def call(nlp: Language, texts: Sequence[str], seconds: float) -> Load:
    """Call a pipeline in a loop.

    nlp (Language): the pipeline.
    texts (Sequence[str]): the texts, used in turn.
    seconds (float): the time.
    RETURNS (Load): the latencies.
    """
    latencies = []
    cpu = time.process_time()
    begin = now = time.perf_counter()
    for text in itertools.cycle(texts):
        nlp(text)
        before, now = now, time.perf_counter()
        latencies.append(now - before)
        if now - begin >= seconds:
            break
    return Load(now - begin, time.process_time() - cpu, latencies)


class Answer(NamedTuple):
    """An answer of a server.

    status (int): the HTTP status.
    head (bytes): the status line and the headers, in lower case.
    body (bytes): the body.
    """

    status: int
    head: bytes
    body: bytes


def post(body: bytes) -> bytes:
    """Create a request of an annotation.

    body (bytes): the body.
    RETURNS (bytes): the body with a head.
    """
    head = (
        "POST /annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read an answer of a server.

    reader (asyncio.StreamReader): an open connection, on which a request was sent.
    RETURNS (Answer): the answer. Without a length, it ends with the connection.
    RAISES (asyncio.IncompleteReadError): the connection ends before the answer does.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"content-length: (\d+)", head)
    body = await (reader.readexactly(int(length[1])) if length else reader.read())
    return Answer(int(head.split(maxsplit=2)[1]), head, body)


async def exchange(port: int, request: bytes) -> Answer:
    """Send a request on a new connection.

    port (int): the port of the server on this machine.
    request (bytes): the request.
    RETURNS (Answer): the answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(request)
        return await read_answer(reader)


async def request(port: int, texts: Sequence[str], n_clients: int, seconds: float) -> Load:
    """Send requests from several clients at a time.

    port (int): the port of the server on this machine.
    texts (Sequence[str]): the texts, used in turn.
    n_clients (int): number of clients.
    seconds (float): the time after which clients send no further requests.
    RETURNS (Load): the latencies.
    """
    requests = itertools.cycle([post(json.dumps({"texts": [text]}).encode()) for text in texts])
    latencies: list[float] = []
    refused = 0
    cpu = cpu_seconds(port)
    begin = time.perf_counter()

    async def run() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.perf_counter()) - begin < seconds:
            writer.write(next(requests))
            answer = await read_answer(reader)
            if answer.status == HTTPStatus.OK:
                latencies.append(time.perf_counter() - sent)
            else:
                refused += 1
        writer.close()

    await asyncio.gather(*(run() for _ in range(n_clients)))
    seconds = time.perf_counter() - begin
    return Load(seconds, cpu_seconds(port) - cpu, latencies, refused)


def cpu_seconds(port: int) -> float:
    """Read the CPU time of a server from its metrics.

    port (int): the port of the server on this machine.
    RETURNS (float): the seconds since its start.
    """
    with urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        return find_metric(response.read(), "process_cpu_seconds_total")


def find_metric(metrics: bytes, name: str) -> float:
    """Find the value of a metric.

    metrics (bytes): metrics in Prometheus' text format.
    name (str): the name of one that has no labels.
    RETURNS (float): the value.
    """
    return float(metrics.decode().partition(f"\n{name} ")[2].partition("\n")[0])


def main() -> None:
    """Run the command line."""
    typer.run(load_server)


if __name__ == "__main__":
    main()
