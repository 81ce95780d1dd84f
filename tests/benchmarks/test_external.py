"""External taggers: a small tagger in another process, with known answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from samples import ROOT

from benchmarks.speed.external import ExternalCommand, ExternalTagger, parse_external
from benchmarks.speed.passages import Passage
from benchmarks.speed.prediction import COLD, measure_latency, measure_prediction

# Writes each request to a file, and returns the number of tokens.
TAGGER = """
import json, os, sys
print(json.dumps({"about": "counter, threads " + os.environ["OMP_NUM_THREADS"]}), flush=True)
with open(sys.argv[1], "w", encoding="utf8") as log:
    for line in sys.stdin:
        log.write(line)
        log.flush()
        request = json.loads(line)
        if "sentences" in request:
            kept = request["sentences"]
        words = request["text"].split() if "text" in request else sum(kept, [])
        print(json.dumps({"words": len(words) - int(sys.argv[2])}), flush=True)
    log.write("end")
"""

# A Python with Flair, in a separate environment.
FLAIR = os.environ.get("FLAIR_PYTHON")
FLAIR_TAGGER = ROOT / "scripts" / "flair_tagger"
COLUMNS = """-DOCSTART- -X- O O

Eva NNP I-NP I-PER
left VBD I-VP O
Rome NNP I-NP I-LOC

Why WRB O O
? . O O

"""

PASSAGES = [
    Passage(["Eva", "left", ".", "Why", "?"], [True] * 5, [True, False, False, True, False]),
    Passage(["Zoë", "stayed"], [True] * 2, None),
]
SENTENCES = '{"sentences": [["Eva", "left", "."], ["Why", "?"], ["Zo\\u00eb", "stayed"]]}'
TAG = '{"tag": "sentences"}'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "requests of it.txt"


def counter(log: Path, missing: int = 0) -> ExternalCommand:
    script = log.parent / "counter.py"
    script.write_text(TAGGER, encoding="utf8")
    return parse_external(f"counter={sys.executable} {script} '{log}' {missing}")


def test_commands() -> None:
    assert parse_external("flair=python -m x --a=b") == ExternalCommand(
        "flair", "python -m x --a=b"
    )
    for text in ("flair", "=python", "flair= "):
        with pytest.raises(ValueError, match=f"--peer {text}: write NAME=COMMAND"):
            parse_external(text)


def test_sentences_are_sent_before_the_clock_runs(log: Path) -> None:
    with ExternalTagger(counter(log), threads=3) as tagger:
        assert tagger.about == "counter, threads 3"
        work = tagger.prediction(PASSAGES)()
        assert log.read_text(encoding="utf8").splitlines() == [SENTENCES]
        assert work() == 7
        assert log.read_text(encoding="utf8").splitlines() == [SENTENCES, TAG]
        assert tagger.call("Eva left .")()() == 3
    assert log.read_text(encoding="utf8").splitlines()[2:] == ['{"text": "Eva left ."}', "end"]


@pytest.mark.slow
def test_it_takes_turns_with_pipelines(log: Path) -> None:
    with ExternalTagger(counter(log), threads=1) as tagger:
        (timing,) = measure_prediction({"counter": tagger}, PASSAGES, 2)
        assert (timing.system, timing.variant, timing.amounts) == ("counter", "", (7, 7))
        assert timing.variant != COLD
        (latency,) = measure_latency({"counter": tagger}, "Eva left .", 3)
        assert latency.amounts == (3, 3, 3)
    requests = log.read_text(encoding="utf8").splitlines()
    assert requests[:6] == [SENTENCES, TAG] * 3  # a warm-up and two rounds


def test_missing_tokens_are_an_error(log: Path) -> None:
    with ExternalTagger(counter(log, missing=2), threads=1) as tagger:
        work = tagger.prediction(PASSAGES)()
        with pytest.raises(
            ValueError, match=r"--peer counter: the tagger got 7 tokens, but tagged 5$"
        ):
            work()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("not_there_at_all", "cannot run not_there_at_all: .*No such file"),
        ("python 'x", "cannot run python 'x: No closing quotation"),
        (f"{sys.executable} -c 'raise SystemExit(3)'", r"ended with status 3 instead of .*about"),
        (f"{sys.executable} -c 'print(1)'", "answered '1' instead of .*about"),
        (f"{sys.executable} -c 'print(\"Loading\")'", "answered 'Loading' instead of"),
    ],
)
def test_other_commands_are_errors(command: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"--peer bad: .*{message}"):
        ExternalTagger(ExternalCommand("bad", command), threads=1)


def test_a_tagger_that_ends_early() -> None:
    command = f'{sys.executable} -c \'print(chr(123) + chr(34) + "about" + chr(34) + ":1}}")\''
    with ExternalTagger(ExternalCommand("bad", command), threads=1) as tagger:
        work = tagger.call("text")()
        with pytest.raises(ValueError, match=r"--peer bad: .* ended with status 0 instead of"):
            work()


@pytest.mark.skipif(FLAIR is None, reason="needs FLAIR_PYTHON, a Python that has Flair")
def test_flair(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(COLUMNS, encoding="utf8")
    (tmp_path / "vectors.txt").write_text("eva 0.5 1.0\nleft -0.5 0.25\n", encoding="utf8")
    command = [FLAIR, FLAIR_TAGGER, "train", "train.txt", "out", "--vectors", "vectors.txt"]
    subprocess.run(list(map(str, command)), cwd=tmp_path, check=True)
    model = tmp_path / "out" / "final-model.pt"
    with ExternalTagger(
        ExternalCommand("flair", f"{FLAIR} {FLAIR_TAGGER} serve '{model}'"), 1
    ) as tagger:
        assert tagger.about.startswith("flair ")
        assert tagger.prediction(PASSAGES)()() == 7
        assert tagger.call("Eva left Rome.")()() == 4
