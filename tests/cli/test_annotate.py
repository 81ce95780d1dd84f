"""The command `annotate`, with its worker processes."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import import_file
from test_cli import run

KILLER = Path(__file__).parent.parent / "annotation" / "killer.py"
CAN_KILL = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
TEXTS = [f"number {i} in Vienna" for i in range(60)]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    import_file("python_code", KILLER)
    nlp = spacy.blank("en")
    nlp.add_pipe("killer", config={"folder": str(tmp_path)})
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "Vienna"}])
    nlp.to_disk(tmp_path / "rules")
    return tmp_path / "rules"


def write(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf8")
    return path


def annotate(model: Path, source: object, output: Path, *options: object, **settings: object):
    command = ["--code", KILLER, "annotate", model, source, "--output", output]
    return run(*command, "--shard-size", "0.0002", *options, **settings)


def rows(output: Path) -> list[dict]:
    return [
        json.loads(line)
        for path in sorted(output.glob("part-*.jsonl"))
        for line in path.read_text(encoding="utf8").splitlines()
    ]


@CAN_KILL
def test_killed_workers_are_replaced_and_nothing_is_lost(rules: Path, tmp_path: Path) -> None:
    texts = [*TEXTS[:30], "kill worker", *TEXTS[30:]]
    source, output = write(tmp_path / "a.txt", texts), tmp_path / "out"
    # 200 bytes are 10 texts of 20 bytes with their line ends, or 11 if some are shorter.
    printed = annotate(rules, source, output, "--workers", 2)
    assert "61 rows with 242 words in 6 files" in printed
    assert [row["text"] for row in rows(output)] == texts
    for row in rows(output):
        ents = [row["text"][start:end] for start, end in zip(row["start"], row["end"], strict=True)]
        assert ents == (["Vienna"] if "Vienna" in row["text"] else [])
    assert not list(output.glob(".*"))

    # Nothing is left to do, so that no process is started.
    before = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert "61 rows with 242 words in 6 files" in annotate(rules, source, output)
    (output / "part-00002.jsonl").unlink()
    annotate(rules, source, output)
    after = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert [path.name for path in before if after[path] != before[path]] == ["part-00002.jsonl"]
    assert [row["text"] for row in rows(output)] == texts

    write(source, [*texts[:-1], "another text"])
    printed = annotate(rules, source, output, fails=True)
    assert "part 5 was made from other rows" in printed
    printed = annotate(rules, source, output, "--prefix", "x", fails=True)
    assert "was written with another value of prefix ('')" in printed


@CAN_KILL
@pytest.mark.slow
def test_a_killed_command_continues(rules: Path, tmp_path: Path) -> None:
    texts = [*TEXTS[:50], "kill driver", *TEXTS[50:], ""]
    source, output = write(tmp_path / "a.txt", texts), tmp_path / "out"
    command: list[object] = [sys.executable, "-c", "from bigru_tagger.cli import main; main()"]
    command += ["--code", KILLER, "annotate", rules, source, "--output", output]
    command += ["--shard-size", "0.0002"]
    # The pipes are open until the worker ends, too.
    killed = subprocess.run(list(map(str, command)), capture_output=True, timeout=240, check=False)
    assert killed.returncode == -signal.SIGKILL
    lines = (output / "manifest.jsonl").read_text(encoding="utf8").splitlines()
    assert [json.loads(line)["rows"] for line in lines[1:]] == [11, 10, 10, 10]
    before = {
        path: path.stat().st_mtime_ns for path in (output / f"part-{i:05d}.jsonl" for i in range(4))
    }
    annotate(rules, source, output)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert [row["text"] for row in rows(output)] == texts[:-1]


@CAN_KILL
def test_a_shard_that_always_fails_ends_the_command(rules: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", [*TEXTS[:30], "kill always", *TEXTS[30:]])
    printed = annotate(rules, source, tmp_path / "out", fails=True)
    assert "Error: part-00002.jsonl failed 3 times, with the rows from" in printed
    assert f"from {source}:22 to {source}:32: its process" in printed
    assert "was killed by SIGKILL" in printed


def test_rows_with_errors_and_damaged_files(rules: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "Vienna"}\nVienna\n{"text": 3}\n', encoding="utf8")
    output = tmp_path / "out"
    printed = annotate(rules, source, output, "--format", "spacy")
    assert "1 rows with 1 words in 1 files" in printed
    assert f"2 errors: {output / 'errors.jsonl'}" in printed
    errors = (output / "errors.jsonl").read_text(encoding="utf8").splitlines()
    assert [json.loads(line)["source"] for line in errors] == [f"{source}:2", f"{source}:3"]
    (doc,) = DocBin().from_disk(output / "part-00000.spacy").get_docs(spacy.blank("en").vocab)
    assert [ent.label_ for ent in doc.ents] == ["LOC"]

    damaged = tmp_path / "b.jsonl.gz"
    damaged.write_bytes(b"damaged")
    printed = annotate(rules, damaged, tmp_path / "cut", fails=True)
    assert "1 files could not be read to their end" in printed


def test_errors_before_a_process_is_started(rules: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", TEXTS)
    for arguments, message in (
        ((rules, source, tmp_path / "out", "--format", "xml"), "--format xml: choose from"),
        ((rules, tmp_path / "b.txt", tmp_path / "out"), "no such file"),
        ((tmp_path / "model", source, tmp_path / "out"), "no such file or folder"),
        ((rules, source, tmp_path), "not empty"),
    ):
        assert message in annotate(*arguments, fails=True)
    assert not (tmp_path / "out").exists()
    empty = write(tmp_path / "empty.txt", [])
    output = tmp_path / "out"
    assert "no row was annotated: the input is empty" in annotate(rules, empty, output, fails=True)


def test_errors_about_columns(rules: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "a.jsonl", tmp_path / "out"
    source.write_text('{"text": "Vienna", "tokens": [{"text": "Vienna"}]}\n')
    printed = annotate(rules, source, output, fails=True)
    assert f"no row was annotated: {source}:1: token 0 is {{'text': 'Vienna'}}" in printed
    source.write_text('{"text": "Vienna", "label": 1}\n')
    printed = annotate(rules, source, tmp_path / "new", fails=True)
    assert "Error: the input already has columns with the names label: set --prefix" in printed
    # The advice can be followed in the same folder, which is empty.
    annotate(rules, source, tmp_path / "new", "--prefix", "a_")


LIGHT_SHARD = """
import sys
for name in ("torch", "datasets", "pyarrow", "scipy", "seqeval", "tokenizers", "transformers"):
    sys.modules[name] = None  # as if it were not installed
from pathlib import Path
from bigru_tagger.annotation.annotator import Annotator
from bigru_tagger.annotation.inputs import Inputs
from bigru_tagger.annotation.shards import annotate_shard, cut
from bigru_tagger.cli import main
model, source, output = sys.argv[1:]
(shard,) = cut(Inputs([source]), 1000)
for format_ in ("jsonl", "spacy"):
    print(annotate_shard(Annotator(model), shard, Path(output), format_).rows)
sys.argv = ["", "annotate", model, source, "--output", output, "--format", "parquet"]
main()
"""


def test_the_light_install_annotates(ner: Language, tmp_path: Path) -> None:
    ner.to_disk(tmp_path / "model")
    source, output = write(tmp_path / "a.txt", ["Eve met Ada in Rome ."]), tmp_path / "out"
    output.mkdir()
    program = [sys.executable, "-W", "ignore", "-c", LIGHT_SHARD]
    ended = subprocess.run(
        [*program, tmp_path / "model", source, output], capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines() == ["1", "1"], ended.stderr
    assert ended.stderr == (
        "Error: parquet output needs the package pyarrow, which is not installed: "
        "pip install 'bigru-tagger[train]'\n"
    )
    assert len(rows(output)[0]["label"]) == len(ner("Eve met Ada in Rome .").ents)
