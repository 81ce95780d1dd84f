"""Check `bigru-tagger serve` for an hour under many clients: `scripts/soak_server --help`."""

import asyncio
import itertools
import json
import math
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

import spacy
import typer
from spacy.language import Language
from wasabi.tables import table

from bigru_tagger.server.app import ServerSettings

from .load_server import Answer, Server, exchange, find_metric, post, read_answer, served
from .speed.passages import Passage, read_passages, stream

_MAX_BODY = ServerSettings.max_body
_GRACE = 60.0  # seconds that an answer may take longer than the server's bound
_TEXTS_AT_STOP = 1200  # in all requests, so that some are in progress when the server stops
_KEPT = 0.9  # probability that the next request uses the same connection
_EXPECTED = "as expected"
_REFUSED = "refused"


@dataclass
class Client:
    """A client that sends requests of one kind, and compares the answers with what is expected.

    kind (str): one of `KINDS`.
    port (int): the port of the server on this machine.
    nlp (Language): the pipeline that is served.
    passages (Iterator[Passage]): the texts to send.
    rng (random.Random): random numbers.
    timeout (float): the server's maximum time for a request, in seconds.
    most_texts (int): the largest number of texts in a request.
    """

    kind: str
    port: int
    nlp: Language
    passages: Iterator[Passage]
    rng: random.Random
    timeout: float
    most_texts: int
    _kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> str:
        """Send a request.

        RETURNS (str): "as expected", "refused" for a valid refusal under load, or another
            description of the outcome.
        """
        try:
            return await asyncio.wait_for(KINDS[self.kind](self), self.timeout + _GRACE)
        except asyncio.TimeoutError:
            return f"no answer in {self.timeout + _GRACE:g} seconds"
        except (OSError, EOFError) as error:
            return f"no answer: {type(error).__name__}"
        except (ValueError, KeyError) as error:
            return f"unreadable answer: {type(error).__name__}"

    async def valid(self) -> str:
        """Send texts, on the connection of the request before or on a new one."""
        texts, body = self._make()
        expected = self._predict(texts)
        reader, writer = self._kept or await self._connect()
        self._kept = None
        try:
            writer.write(post(body))
            answer = await read_answer(reader)
            if self.rng.random() < _KEPT and b"\r\nconnection: close" not in answer.head:
                self._kept = reader, writer
        finally:
            if self._kept is None:
                writer.close()
        return _compare_entities(answer, texts, expected)

    async def in_pieces(self) -> str:
        """Send texts slowly, but within the server's time."""
        texts, body = self._make()
        request = post(body)
        begin = len(request) - len(body)
        ends = [begin, *sorted(self.rng.choices(range(begin, len(request)), k=4)), len(request)]
        reader, writer = await self._connect()
        with closing(writer):
            for i, j in itertools.pairwise([0, *ends]):
                writer.write(request[i:j])
                await asyncio.sleep(self.timeout / 30)
            answer = await read_answer(reader)
        return _compare_entities(answer, texts, self._predict(texts))

    async def slow(self) -> str:
        """Send a body so slowly that the server's time ends before."""
        reader, writer = await self._connect()

        async def send() -> None:
            writer.write(post(bytes(1000))[:-1000])
            while True:
                await asyncio.sleep(self.timeout / 30)
                writer.write(bytes(1))

        sending = asyncio.ensure_future(send())
        with closing(writer):
            try:
                answer = await read_answer(reader)
            finally:
                sending.cancel()
        return _compare_status(answer, HTTPStatus.REQUEST_TIMEOUT)

    async def oversized(self) -> str:
        """Send a body that is too large, with its length or in chunks."""
        body = b'{"texts": ["' + b"x" * self.rng.randint(_MAX_BODY, 4 * _MAX_BODY) + b'"]}'
        request = post(body)
        if self.rng.choice([True, False]):
            length = f"Content-Length: {len(body)}\r\n".encode()
            head = request[: -len(body)].replace(length, b"Transfer-Encoding: chunked\r\n")
            request = b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)
        return await self._send(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    async def malformed(self) -> str:
        """Send a request that is not valid."""
        _, body = self._make()
        request = post(body)
        invalid = [
            body[: self.rng.randrange(len(body))],
            b"\xff" + body,
            body.replace(b"texts", b"text", 1),
            b'{"texts": "a"}',
            b'{"texts": ["a"], "threshold": 1e999}',
            json.dumps({"texts": ["a"] * 1001}).encode(),
            b"[" * 100_000,
        ]
        others = {
            request.replace(b"application/json", b"text/plain", 1): HTTPStatus.UNPROCESSABLE_ENTITY,
            request.replace(b"POST", b"PUT", 1): HTTPStatus.METHOD_NOT_ALLOWED,
            request.replace(b"/annotate", b"/other", 1): HTTPStatus.NOT_FOUND,
            request.replace(b"HTTP/1.1", b"HTTP/x", 1): HTTPStatus.BAD_REQUEST,
            request.replace(b"Length: ", b"Length: -", 1): HTTPStatus.BAD_REQUEST,
        }
        requests = {post(body): HTTPStatus.UNPROCESSABLE_ENTITY for body in invalid} | others
        return await self._send(*self.rng.choice(list(requests.items())))

    async def disconnected(self) -> str:
        """Disconnect in the head, in the body, or before the answer. There is no answer."""
        _, body = self._make()
        request = post(body)
        _, writer = await self._connect()
        writer.write(request[: self.rng.choice([self.rng.randrange(len(request)), len(request)])])
        await asyncio.sleep(self.rng.uniform(0.0, 0.1))
        self.rng.choice([writer.close, writer.transport.abort])()
        return _EXPECTED

    def close(self) -> None:
        """Close the connection that was kept, if any."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _send(self, request: bytes, status: HTTPStatus) -> str:
        return _compare_status(await exchange(self.port, request), status)

    def _make(self) -> tuple[list[str], bytes]:
        n_texts = self.rng.randint(1, self.most_texts)
        texts = [passage.text for passage in itertools.islice(self.passages, n_texts)]
        return texts, json.dumps({"texts": texts}).encode()

    def _predict(self, texts: Sequence[str]) -> list[list[dict[str, object]]]:
        with self.nlp.memory_zone():
            return [
                [
                    {"start": ent.start_char, "end": ent.end_char, "label": ent.label_}
                    for ent in self.nlp(text).ents
                ]
                for text in texts
            ]


KINDS = {
    "valid": Client.valid,
    "in pieces": Client.in_pieces,
    "malformed": Client.malformed,
    "oversized": Client.oversized,
    "disconnected": Client.disconnected,
    "slow": Client.slow,
}
_CLIENT_KINDS = [*KINDS, *["valid"] * 8, "in pieces", "malformed"]  # of the clients, in turn


def _compare_status(answer: Answer, expected: HTTPStatus) -> str:
    if answer.status == expected:
        return _EXPECTED
    if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return _REFUSED if b"\r\nretry-after: " in answer.head else "refused, no Retry-After"
    return f"status {answer.status} instead of {expected.value}"


def _compare_entities(
    answer: Answer, texts: Sequence[str], expected: list[list[dict[str, object]]]
) -> str:
    if answer.status != HTTPStatus.OK:
        return _compare_status(answer, HTTPStatus.OK)
    content = json.loads(answer.body)
    found = [
        (doc["text"], [{key: ent[key] for key in ("start", "end", "label")} for ent in doc["ents"]])
        for doc in content["docs"]
        if doc is not None
    ]
    if found == list(zip(texts, expected, strict=True)) and content["errors"] == []:
        return _EXPECTED
    return "other entities"


class Soak:
    """A server under clients of all kinds.

    server (Server): the server.
    outcomes (Counter[tuple[str, str]]): number of requests by kind and outcome.
    memory (list[float]): the resident memory of the server over time, in MB.
    n_at_stop (int): number of valid requests in progress when the server was stopped.
    problems (list[str]): what is wrong besides answers.
    """

    def __init__(
        self, server: Server, nlp: Language, passages: Sequence[Passage], timeout: float, seed: int
    ) -> None:
        """Create a check that has not started.

        server (Server): the server.
        nlp (Language): the pipeline that it serves.
        passages (Sequence[Passage]): the texts. Some words are replaced by random ones.
        timeout (float): the server's maximum time for a request, in seconds.
        seed (int): the seed of the random numbers.
        """
        self.server = server
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.memory: list[float] = []
        self.n_at_stop = 0
        self.problems: list[str] = []
        self._nlp = nlp
        self._passages = passages
        self._timeout = timeout
        self._rng = random.Random(seed)

    def client(self, kind: str, most_texts: int = 2) -> Client:
        """Create a client, with random numbers of its own.

        kind (str): one of `KINDS`.
        most_texts (int): the largest number of texts in a request.
        RETURNS (Client): the client.
        """
        rng = random.Random(self._rng.getrandbits(32))
        shuffled = rng.sample(self._passages, len(self._passages))
        passages = stream(shuffled, sys.maxsize, seed=rng.getrandbits(32))
        return Client(kind, self.server.port, self._nlp, passages, rng, self._timeout, most_texts)

    async def run(self, n_clients: int, seconds: float, pause: float) -> None:
        """Send requests, and stop the server while it answers.

        n_clients (int): number of clients.
        seconds (float): the time after which clients send no further requests.
        pause (float): the mean time between the requests of a client, in seconds.
        """
        end = time.monotonic() + seconds

        async def send(client: Client) -> None:
            self.outcomes[client.kind, await client.ask()] += 1

        async def send_many(client: Client) -> None:
            await asyncio.sleep(client.rng.uniform(0.0, 2 * pause))
            while time.monotonic() < end:
                await send(client)
                await asyncio.sleep(client.rng.uniform(0.0, 2 * pause))

        kinds = list(itertools.islice(itertools.cycle(_CLIENT_KINDS), n_clients))
        clients = [self.client(kind) for kind in kinds]
        tasks = [asyncio.ensure_future(send_many(client)) for client in clients]
        while time.monotonic() < end:
            await asyncio.sleep(max(seconds / 360, 0.1))
            self.memory.append(await self._metric("process_resident_memory_bytes") / 1e6)
        slow = [task for task, kind in zip(tasks, kinds, strict=True) if kind == "slow"]
        await asyncio.wait(set(tasks) - set(slow))
        await self._wait_until_in_progress(slow)
        n_last = kinds.count("valid")
        clients += [self.client("valid", min(240, _TEXTS_AT_STOP // n_last)) for _ in range(n_last)]
        # All of these compute the expected entities before the first connects.
        last = [asyncio.ensure_future(send(client)) for client in clients[-n_last:]]
        await self._wait_until_in_progress([*slow, *last])
        self.n_at_stop = sum(not task.done() for task in last)
        self.server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*tasks, *last)
        for client in clients:
            client.close()
        try:
            await asyncio.to_thread(self.server.process.wait, self._timeout + _GRACE)
        except subprocess.TimeoutExpired:
            self.problems.append("the server did not end and was killed")
            self.server.process.kill()

    async def _wait_until_in_progress(self, tasks: Sequence["asyncio.Future[None]"]) -> None:
        """Wait until the server has as many requests in progress as there are tasks to do."""
        end = time.monotonic() + self._timeout + _GRACE
        while True:
            # The request of this metric is one of them.
            n = await self._metric("bigru_tagger_requests_in_progress") - 1
            expected = sum(not task.done() for task in tasks)
            if n == expected:
                return
            if time.monotonic() > end:
                self.problems.append(f"{n:g} requests are in progress instead of {expected}")
                return
            await asyncio.sleep(0.01)

    async def _metric(self, name: str) -> float:
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        try:
            answer = await asyncio.wait_for(exchange(self.server.port, request), _GRACE)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.outcomes["metrics", f"no answer: {type(error).__name__}"] += 1
            return math.nan
        self.outcomes["metrics", _compare_status(answer, HTTPStatus.OK)] += 1
        return find_metric(answer.body, name) if answer.status == HTTPStatus.OK else math.nan

    def rows(self) -> Iterator[tuple[str, int, int, int, int]]:
        """Count the outcomes of each kind of request.

        YIELDS (tuple): the kind; number of requests, of those answered as expected, of those
            refused, and of the others.
        """
        for kind in dict.fromkeys(kind for kind, _ in self.outcomes):
            sent = sum(n for (other, _), n in self.outcomes.items() if other == kind)
            good, refused = (self.outcomes[kind, outcome] for outcome in (_EXPECTED, _REFUSED))
            yield kind, sent, good, refused, sent - good - refused

    def memory_by_tenth(self) -> list[float]:
        """Divide the memory by time.

        RETURNS (list[float]): the maximum in each tenth of the time, in MB.
        """
        n = len(self.memory)
        return [max(self.memory[i * n // 10 : (i + 1) * n // 10 + 1]) for i in range(10)]

    def find_problems(self, growth: float) -> list[str]:
        """Collect what is wrong, after the server has ended.

        growth (float): the largest growth of the memory that is no problem, in percent.
        RETURNS (list[str]): the problems.
        """
        problems = [
            f"{kind}: {outcome} ({n:,} times)"
            for (kind, outcome), n in self.outcomes.items()
            if outcome not in (_EXPECTED, _REFUSED)
        ]
        problems += self.problems
        status = self.server.process.wait()
        if status not in (0, -signal.SIGTERM):
            problems.append(f"the server ended with status {status}")
        if not self.n_at_stop:
            problems.append("no valid request was in progress at SIGTERM")
        # The cache of words fills and is cleared, many times in an hour.
        tenths = self.memory_by_tenth()
        if not max(tenths[5:]) <= max(tenths[:5]) * (1 + growth / 100):
            problems.append(f"the memory of the server grew by more than {growth:g}%")
        log = (line.strip() for line in self.server.log)
        return problems + [line for line in log if line.startswith(("ERROR", "Traceback"))]


def soak_server(
    model: Annotated[str, typer.Argument(help="A pipeline that predicts entities.")],
    data: Annotated[str, typer.Option(help="Data with the texts.")] = "bigru_tagger/sample",
    *,
    split: Annotated[str, typer.Option(help="The split.")] = "test",
    minutes: Annotated[float, typer.Option(help="Time of the requests.")] = 60.0,
    clients: Annotated[
        int, typer.Option(help="Number of clients: 16 for all kinds.", min=len(KINDS))
    ] = 64,
    pause: Annotated[
        float,
        typer.Option(help="Mean seconds between the requests of a client.", min=0.0, max=2.0),
    ] = 1.0,
    timeout: Annotated[
        float, typer.Option(help="The server's maximum seconds for a request.", min=0.1)
    ] = ServerSettings.timeout,
    growth: Annotated[
        float,
        typer.Option(
            help="The largest growth of the memory between the halves of the time, in percent."
        ),
    ] = 5.0,
    seed: Annotated[int, typer.Option(help="The seed of texts, kinds and pauses.")] = 0,
) -> None:
    """Send requests of all kinds to a server, and compare each answer with what is expected.

    More than half of the clients send valid requests, which must get the entities of `nlp(text)`.
    Others send valid requests in pieces, requests that are malformed or too large, disconnect in
    the middle of a request, or are so slow that the server's time ends. At the end, the server is
    stopped by SIGTERM while it answers: it must answer all requests in progress, and end.

    Exits with status 1 if an answer is missing or wrong, if the memory of the server grows, if it
    logs an error, or does not end. Refused requests (429 and 503 with Retry-After) are counted.
    """
    typer.echo(f"seed {seed}")
    passages = read_passages(data, split=split, sentences_per_doc=4, limit=50_000)
    nlp = spacy.load(model)
    with served(model, "--timeout", str(timeout)) as server:
        soak = Soak(server, nlp, passages, timeout, seed)
        asyncio.run(soak.run(clients, 60 * minutes, pause))
    header = ("kind", "sent", "as expected", "refused", "otherwise")
    typer.echo(table(list(soak.rows()), header=header, divider=True, aligns=("l", *"rrrr")))
    typer.echo(
        "memory of the server in MB, maxima by tenths of the time: "
        f"{' '.join(f'{memory:.0f}' for memory in soak.memory_by_tenth())}\n"
        f"valid requests in progress at SIGTERM: {soak.n_at_stop}"
    )
    problems = soak.find_problems(growth)
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(code=bool(problems))


def main() -> None:
    """Run the command line."""
    typer.run(soak_server)


if __name__ == "__main__":
    main()
