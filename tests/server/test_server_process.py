"""The command `serve` in a process of its own."""

import random
import re
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from clients import Client, alone, in_progress, same, wait_for
from samples import TEXTS
from typer.testing import CliRunner

from bigru_tagger.cli.app import app
from bigru_tagger.extras import MissingExtraError

# As if PyTorch were not installed.
RUN = "import sys; sys.modules['torch'] = None; from bigru_tagger.cli import main; main()"


@pytest.fixture(scope="module")
def model(ner, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "model"
    ner.to_disk(path)
    return path


@pytest.fixture
def process(model):
    command = [sys.executable, "-c", RUN, "serve", model, "--port", "0", "--max-requests", "16"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def connect(process):
    for line in process.stderr:
        if found := re.search(r"Uvicorn running on http://127\.0\.0\.1:(\d+)", line):
            return Client(int(found[1]))
    raise AssertionError("the server did not start")


def make_requests(n):
    rng = random.Random(0)
    requests = []
    for _ in range(n):
        texts = [
            " ".join(rng.choices(TEXTS, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 4))
        ]
        options = rng.choice([{}, {"n_best": 2}, {"threshold": 1.0}])
        requests.append((texts, options))
    return requests


def test_each_request_of_concurrent_clients_gets_its_own_result(process, ner):
    client = connect(process)
    requests = make_requests(120)
    with ThreadPoolExecutor(16) as pool:
        replies = list(
            pool.map(lambda request: client.annotate(*request[0], **request[1]), requests)
        )
    known = {}
    for (texts, options), reply in zip(requests, replies, strict=True):
        assert reply.status == 200
        for text, record in zip(texts, reply.json["docs"], strict=True):
            expected = known.setdefault(text, alone(ner, text))
            if "threshold" in options:
                expected = {**expected, "ents": [e for e in expected["ents"] if e["score"] == 1.0]}
            hypotheses = record.pop("hypotheses", None)
            assert (hypotheses is not None) == ("n_best" in options)
            assert same(record, expected)


def test_a_stop_answers_all_requests_that_were_sent(process, ner):
    client = connect(process)
    texts = TEXTS * 60
    expected = [record["ents"] for record in (alone(ner, text) for text in TEXTS)] * 60
    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(client.annotate, *texts) for _ in range(8)]
        wait_for(lambda: sum(map(Future.done, replies)) + in_progress(client) == 8)
        assert not all(map(Future.done, replies))
        process.send_signal(signal.SIGTERM)
        for reply in replies:
            assert reply.result().status == 200
            assert same([record["ents"] for record in reply.result().json["docs"]], expected)
    assert process.wait(timeout=30) in (0, -signal.SIGTERM)
    with pytest.raises(ConnectionRefusedError):
        client.get("/healthz")


def test_a_connection_stays_open_longer_than_proxies_keep_it(model, monkeypatch):
    settings = {}
    monkeypatch.setattr("uvicorn.run", lambda app, **kwargs: settings.update(kwargs))
    assert CliRunner().invoke(app, ["serve", str(model)]).exit_code == 0
    assert settings["timeout_keep_alive"] > 60  # nginx' keepalive_timeout


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client"])
def test_a_missing_package_is_an_error_that_names_the_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    result = CliRunner().invoke(app, ["serve", "no_model"])
    assert isinstance(result.exception, MissingExtraError)
    assert str(result.exception) == (
        f"bigru-tagger serve needs the package {package}, which is not installed: "
        "pip install 'bigru-tagger[serve]'"
    )


def test_a_model_that_cannot_be_loaded_is_an_error():
    result = CliRunner().invoke(app, ["serve", "no_model"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Cannot load 'no_model' as a spaCy pipeline.")
