import asyncio
import itertools
import json
import random
import re
import subprocess
import sys
from contextlib import asynccontextmanager, closing

import pytest
import typer
from samples import ROOT, TEXTS, build, train

from benchmarks import soak_server as module
from benchmarks.load_server import Server, served
from benchmarks.soak_server import KINDS, Client, Soak, soak_server
from benchmarks.speed.passages import Passage

PASSAGES = [Passage(text.split(), [True] * len(text.split()), None) for text in TEXTS]
EMPTY = b'{"docs": [], "errors": []}'


@asynccontextmanager
async def answering(answer):
    """A server that sends the same bytes after the head of each request."""

    async def reply(reader, writer):
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if answer:
                writer.write_eof()
            await reader.read()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def make_answer(status, body=EMPTY, headers=""):
    head = f"HTTP/1.1 {status} Any\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def outcome_of(kind, nlp, answer, seed=0):
    """The outcome of a request of a kind, to a server with this answer."""

    async def ask():
        async with answering(answer) as port:
            passages = itertools.cycle(PASSAGES)
            client = Client(kind, port, nlp, passages, random.Random(seed), 0.1, most_texts=2)
            found = await client.ask()
            client.close()
            return found

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("valid", "other entities"),
        ("in pieces", "other entities"),
        ("malformed", r"status 200 instead of 4\d\d"),
        ("oversized", "status 200 instead of 413"),
        ("slow", "status 200 instead of 408"),
    ],
)
def test_a_wrong_answer_is_not_as_expected(ner, kind, outcome):
    for seed in range(5):
        assert re.fullmatch(outcome, outcome_of(kind, ner, make_answer(200), seed))


@pytest.mark.parametrize("change", [None, "ents", "label", "text", "errors"])
def test_each_text_must_have_its_entities(ner, change):
    first = next(passage.text for passage in PASSAGES)
    ents = [{"start": 0, "end": 12, "label": "PER", "score": 0.9}]
    ents += [{"start": 22, "end": 29, "label": "PER", "score": 0.9}]
    ents += [{"start": 35, "end": 41, "label": "LOC", "score": 0.9}]
    content = {"docs": [{"text": first, "ents": ents}], "errors": []}
    if change == "ents":
        ents.pop()
    elif change == "label":
        ents[0]["label"] = "LOC"
    elif change == "text":
        content["docs"][0]["text"] = first + "."
    elif change == "errors":
        content["errors"] = [{"index": 0, "message": "an error"}]
    seed = next(seed for seed in range(9) if random.Random(seed).randint(1, 2) == 1)  # one text
    found = outcome_of("valid", ner, make_answer(200, json.dumps(content).encode()), seed)
    assert found == ("other entities" if change else "as expected")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "disconnected"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_must_have_the_time_to_retry(ner, kind, status):
    assert outcome_of(kind, ner, make_answer(status, headers="Retry-After: 1\r\n")) == "refused"
    assert outcome_of(kind, ner, make_answer(status)) == "refused, no Retry-After"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "disconnected"])
def test_a_missing_answer_is_not_as_expected(ner, kind, monkeypatch):
    monkeypatch.setattr(module, "_GRACE", 0.5)
    assert outcome_of(kind, ner, b"") == "no answer in 0.6 seconds"
    for cut in (b"HTTP/1.1 200", make_answer(200)[:-1]):
        assert outcome_of(kind, ner, cut) == "no answer: IncompleteReadError"


def test_an_answer_that_is_no_json_is_not_as_expected(ner):
    found = outcome_of("valid", ner, make_answer(200, b"<html>"))
    assert found == "unreadable answer: JSONDecodeError"


def ended(status, log=(), port=0):
    """A server whose process has ended."""
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"], text=True)
    process.wait()
    return Server(port, process, list(log))


def test_requests_that_stay_in_progress_are_a_problem(ner, monkeypatch):
    monkeypatch.setattr(module, "_GRACE", 0.5)

    async def run(n_in_progress):
        metrics = f"# TYPE\nbigru_tagger_requests_in_progress {n_in_progress}\n".encode()
        async with answering(make_answer(200, metrics)) as port:
            soak = Soak(ended(0, port=port), ner, PASSAGES, timeout=0.1, seed=0)
            await soak._wait_until_in_progress([])
            return soak.problems

    assert asyncio.run(run(1.0)) == []  # the request of the metrics
    assert asyncio.run(run(3.0)) == ["2 requests are in progress instead of 0"]


def test_problems_are_those_of_requests_memory_and_the_end(ner):
    soak = Soak(ended(0), ner, PASSAGES, timeout=1.0, seed=0)
    soak.n_at_stop = 1
    soak.outcomes.update({("valid", "as expected"): 7, ("valid", "refused"): 2})
    soak.memory = [100.0] * 19 + [200.0] + [150.0] * 70 + [210.0] + [190.0] * 9
    assert soak.memory_by_tenth() == [100.0, 200.0, *[150.0] * 6, 210.0, 210.0]
    assert soak.find_problems(growth=5.0) == []
    assert soak.find_problems(growth=4.9) == ["the memory of the server grew by more than 4.9%"]
    soak.outcomes["valid", "other entities"] = 1
    soak.outcomes["slow", "status 500 instead of 408"] = 3
    soak.n_at_stop = 0
    soak.server = ended(3, ["INFO: started\n", "ERROR: Exception in ASGI application\n"])
    assert soak.find_problems(growth=5.0) == [
        "valid: other entities (1 times)",
        "slow: status 500 instead of 408 (3 times)",
        "the server ended with status 3",
        "no valid request was in progress at SIGTERM",
        "ERROR: Exception in ASGI application",
    ]
    assert list(soak.rows()) == [("valid", 10, 7, 2, 1), ("slow", 3, 0, 0, 3)]


@pytest.mark.parametrize(
    "same_model", [True, pytest.param(False, marks=pytest.mark.slow)]
)  # each a few seconds
def test_a_server_under_clients_of_all_kinds(ner, tmp_path, monkeypatch, capsys, same_model):
    ner.to_disk(tmp_path / "model")
    if not same_model:
        other = build("bigru_ner", seed=1)
        train(other, steps=1)
        other.to_disk(tmp_path / "other")
        monkeypatch.setattr(module, "served", lambda _, *args: served(tmp_path / "other", *args))
    with pytest.raises(typer.Exit) as exit_:
        soak_server(
            str(tmp_path / "model"),
            str(ROOT / "bigru_tagger" / "sample"),
            minutes=1 / 60,
            clients=8,
            pause=0.1,
            timeout=2.0,
            growth=100.0,
        )
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "seed 0"
    rows = {}
    for line in lines:
        if found := re.fullmatch(r"(\S.*?)\s{2,}(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", line.strip()):
            rows[found[1]] = [int(value) for value in found.groups()[1:]]
    assert rows.keys() == {"metrics", *KINDS}
    for kind, (sent, expected, refused, otherwise) in rows.items():
        assert sent == expected + refused + otherwise
        assert sent > 0
        assert bool(otherwise) == (not same_model and kind in ("valid", "in pieces"))
    assert exit_.value.exit_code == (not same_model)
    assert bool(captured.err) == (not same_model)
