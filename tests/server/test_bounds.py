"""Bounds on size, number and time of requests, and batches, over sockets."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest
import spacy
from clients import in_progress, queued, wait_for
from spacy.language import Language


class Gate:
    """A component that waits until it is opened, and records the sizes of batches."""

    def __init__(self):
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.batches = []

    def __call__(self, doc):
        return next(self.pipe([doc]))

    def pipe(self, docs, batch_size=None):
        docs = list(docs)
        self.batches.append([doc.text for doc in docs])
        self.entered.set()
        assert self.opened.wait(60)
        if any(doc.text == "broken" for doc in docs):
            raise RuntimeError("this text breaks the pipeline")
        yield from docs


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture
def nlp(gate):
    Language.factory("test_gate", func=lambda nlp, name: gate)
    nlp = spacy.blank("en")
    nlp.add_pipe("test_gate")
    return nlp


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as found:
        yield found


def test_concurrent_requests_are_predicted_together(serve, nlp, gate, pool):
    client = serve(nlp, wait=0.0)
    first = pool.submit(client.annotate, "a")
    wait_for(gate.entered.is_set)
    others = [pool.submit(client.annotate, text) for text in "bcd"]
    other_options = pool.submit(client.post, json.dumps({"tokens": [["e"]]}))
    wait_for(lambda: queued(client) == 4)
    gate.opened.set()
    texts = [reply.result().json["docs"][0]["text"] for reply in (first, *others)]
    assert texts == ["a", "b", "c", "d"]
    assert other_options.result().status == 200
    assert [sorted(batch) for batch in gate.batches] == [["a"], ["b", "c", "d", "e "]]


def test_a_batch_is_limited_in_texts_and_characters(serve, nlp, gate, pool, monkeypatch):
    monkeypatch.setattr("bigru_tagger.server.batching.MAX_CHARACTERS", 10)
    client = serve(nlp, batch_size=3, wait=0.0)
    first = pool.submit(client.annotate, "a")
    wait_for(gate.entered.is_set)
    # After the first batch, all of these are in the queue.
    other = pool.submit(client.annotate, *"bcdef", "x" * 12, "y", "z")
    wait_for(lambda: queued(client) == 8)
    gate.opened.set()
    assert first.result().status == other.result().status == 200
    assert gate.batches == [["a"], ["b", "c", "d"], ["e", "f", "x" * 12], ["y", "z"]]


def test_a_batch_waits_for_as_many_texts_as_the_one_before(serve, nlp, gate, pool):
    gate.opened.set()
    client = serve(nlp, wait=20.0)
    begin = time.monotonic()
    assert client.annotate("a").status == 200
    assert client.annotate("b").status == 200
    assert time.monotonic() - begin < 10.0  # a single client does not wait
    gate.opened.clear()
    gate.batches.clear()
    gate.entered.clear()
    replies = [pool.submit(client.annotate, "c")]
    wait_for(gate.entered.is_set)
    replies += [pool.submit(client.annotate, text) for text in "de"]
    wait_for(lambda: queued(client) == 2)
    gate.opened.set()
    assert [reply.result().status for reply in replies] == [200] * 3
    replies = [pool.submit(client.annotate, "f")]
    time.sleep(0.3)
    replies.append(pool.submit(client.annotate, "g"))
    assert [reply.result().status for reply in replies] == [200] * 2
    assert list(map(sorted, gate.batches)) == [["c"], ["d", "e"], ["f", "g"]]


def test_an_error_of_one_request_leaves_the_others_of_its_batch(serve, nlp, gate, pool):
    client = serve(nlp)
    first = pool.submit(client.annotate, "a")
    wait_for(gate.entered.is_set)
    broken = pool.submit(client.annotate, "broken", "b")
    other = pool.submit(client.annotate, "c")
    wait_for(lambda: queued(client) == 3)
    gate.opened.set()
    assert first.result().json["errors"] == other.result().json["errors"] == []
    answer = broken.result().json
    assert [doc and doc["text"] for doc in answer["docs"]] == [None, "b"]
    message = "RuntimeError: this text breaks the pipeline"
    assert answer["errors"] == [{"index": 0, "message": message}]


def test_a_failing_text_is_found_in_few_batches(serve, nlp, gate):
    gate.opened.set()
    client = serve(nlp, batch_size=16, wait=5.0)
    assert client.annotate(*"abcdefghijklmnop").status == 200  # the next batch waits for as many
    gate.batches.clear()
    answer = client.annotate(*"abcdefghijk", "broken", *"mnop").json
    assert [error["index"] for error in answer["errors"]] == [11]
    assert sum(doc is not None for doc in answer["docs"]) == 15
    # One of 16 texts, then two of 8, 4, 2 and 1. One by one, these would be 17.
    assert len(gate.batches) <= 10


def test_requests_above_the_limit_get_429_at_once(serve, nlp, gate, pool):
    client = serve(nlp, max_requests=3)
    accepted = [pool.submit(client.annotate, text) for text in "abc"]
    wait_for(lambda: in_progress(client) == 3)
    for _ in range(3):
        reply = client.annotate("d")
        assert reply.status == 429
        assert reply.headers["Retry-After"] == "1"
        assert reply.json["error"]["message"] == "3 requests are in progress, which is the limit"
    assert client.get("/healthz").status == 200
    gate.opened.set()
    assert [reply.result().status for reply in accepted] == [200] * 3
    assert client.annotate("d").status == 200
    assert "d" not in [text for batch in gate.batches[:-1] for text in batch]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_gets_413(serve, nlp, gate, chunked):
    gate.opened.set()
    client = serve(nlp, max_body=1000)
    empty = json.dumps({"texts": [""]}).encode()
    fitting = json.dumps({"texts": ["x" * (1000 - len(empty))]}).encode()
    for body, status in ((fitting, 200), (fitting + b" ", 413), (fitting + b" " * 60_000, 413)):
        parts = [body[i : i + 700] for i in range(0, len(body), 700)]
        reply = client.post(iter(parts) if chunked else body)
        assert reply.status == status
    assert reply.json["error"]["message"] == "the body is larger than 1000 bytes"


def test_a_request_that_takes_too_long_gets_503_and_is_not_predicted(serve, nlp, gate, pool):
    client = serve(nlp, timeout=0.5)
    first = pool.submit(client.annotate, "a")
    wait_for(gate.entered.is_set)
    queued = pool.submit(client.annotate, "b")
    for reply in (first.result(), queued.result()):
        assert reply.status == 503
        assert reply.headers["Retry-After"] == "1"
        assert "within 0.5 seconds" in reply.json["error"]["message"]
    gate.opened.set()
    assert client.annotate("c").status == 200
    assert gate.batches == [["a"], ["c"]]


def test_a_slow_client_gets_408_and_others_are_answered(serve, nlp, gate):
    gate.opened.set()
    client = serve(nlp, timeout=0.5)
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as slow:
        slow.sendall(b"POST /annotate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert client.annotate("a").status == 200
        answer = b"".join(iter(lambda: slow.recv(4096), b""))  # the server closes the connection
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"not complete after 0.5 seconds" in answer


@pytest.mark.parametrize(
    ("method", "max_requests", "status"), [("POST", 1, 413), ("POST", 0, 429), ("PUT", 1, 405)]
)
def test_an_endless_body_is_cut(serve, nlp, method, max_requests, status):
    client = serve(nlp, max_body=1000, max_requests=max_requests)
    head = f"{method} /annotate HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as endless:
        endless.sendall(head.encode())
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            endless.sendall(bytes(2**28))  # far more than the buffers of a socket
    counted = f'bigru_tagger_requests_total{{path="/annotate",status="{status}"}} 1.0'
    assert counted in client.get("/metrics").text.splitlines()


def test_complete_requests_share_a_connection(serve, nlp, gate):
    gate.opened.set()
    connection = HTTPConnection("127.0.0.1", serve(nlp, max_body=1000).port, timeout=30)
    found = []
    with contextlib.closing(connection):
        for body in (b"{}", b" " * 1001, b'{"texts": []}'):
            connection.request("POST", "/annotate", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            found.append((response.status, response.headers["Connection"]))
        connection.request("GET", "/healthz", headers={"Content-Length": "0"})
        response = connection.getresponse()
        found.append((response.status, response.headers["Connection"]))
    assert found == [(422, None), (413, None), (200, None), (200, None)]


def test_texts_of_a_client_that_disconnected_are_not_predicted(serve, nlp, gate, pool):
    client = serve(nlp)
    first = pool.submit(client.annotate, "a")
    wait_for(gate.entered.is_set)
    body = json.dumps({"texts": ["gone"]}).encode()
    head = "POST /annotate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(head.encode() + body)
        wait_for(lambda: queued(client) == 1)
    wait_for(lambda: queued(client) == 0)  # its memory is free before the first batch ends
    gate.opened.set()
    assert first.result().status == 200
    assert client.annotate("b").status == 200
    assert gate.batches == [["a"], ["b"]]


def test_a_server_that_cannot_predict_is_not_healthy(serve, nlp, gate, monkeypatch):
    gate.opened.set()
    monkeypatch.setattr("bigru_tagger.server.batching.Batcher.is_alive", False)
    reply = serve(nlp).get("/healthz")
    assert reply.status == 503
    assert reply.json["error"]["remedy"] == "restart the server"
