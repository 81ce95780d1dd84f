import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import uvicorn

from bigru_tagger.server.app import ServerSettings, make_app


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


@pytest.fixture
def serve():
    """Serve a pipeline until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda nlp, **settings: stack.enter_context(
            running(make_app(nlp, ServerSettings(**settings)))
        )


@pytest.fixture(scope="session")
def client(ner):
    """A client of a server with the trained recogniser."""
    with running(make_app(ner)) as found:
        yield found
