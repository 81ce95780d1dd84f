"""Servers on this machine, and clients for them."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import uvicorn
from spacy.language import Language

from bigru_tagger.annotation.records import doc_record


class Reply(NamedTuple):
    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Sends requests to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read().decode("utf8"))

    def get(self, path: str) -> Reply:
        return self.send("GET", path)

    def annotate(self, *texts: str, **fields: Any) -> Reply:
        content = {"texts": texts, **fields} if texts else fields
        return self.post(json.dumps(content))

    def post(self, body: Any) -> Reply:
        return self.send("POST", "/annotate", body, **{"Content-Type": "application/json"})


@contextlib.contextmanager
def running(app: Any) -> Iterator[Client]:
    """Serve an application on a free port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, ws="none", log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Client(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def same(found: Any, expected: Any) -> bool:
    """Whether values are equal, up to the rounding of probabilities, which depends on batches."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == (pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else expected)


def entities(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(record["text"][e["start"] : e["end"]], e["label"]) for e in record["ents"]]


def alone(nlp: Language, text: str) -> dict[str, Any]:
    """The record of a text that is processed by itself."""
    return doc_record(nlp(text), ("confidence",))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def metric(client: Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"bigru_tagger_{name} "))
    return float(value)


def in_progress(client: Client) -> float:
    """The requests in progress, without the one for the metrics."""
    return metric(client, "requests_in_progress") - 1


def queued(client: Client) -> float:
    return metric(client, "queued_texts")
