import bz2
import gzip
import io
import json
import lzma
import sys
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet
import pytest
import spacy
from spacy.tokens import Doc, DocBin

from bigru_tagger.annotation.inputs import Inputs


def read(*sources):
    rows = []
    for row in Inputs([str(source) for source in sources]):
        try:
            rows.append((row.source, row.parse()))
        except ValueError as error:  # noqa: PERF203
            rows.append((row.source, str(error)))
    return rows


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_text_files(tmp_path, ending, compress):
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(compress(b"\xef\xbb\xbfAda wrote .\r\n\n  It rained .\nca\xf1on\nend"))
    *rows, wrong, last = read(path)
    assert rows == [(f"{path}:1", {"text": "Ada wrote ."}), (f"{path}:3", {"text": "It rained ."})]
    # One row with an error, and the file goes on.
    assert wrong[0] == f"{path}:4"
    assert "'utf-8' codec can't decode byte 0xf1" in wrong[1]
    assert last == (f"{path}:5", {"text": "end"})


def test_json(tmp_path):
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"text": "Ada", "id": 1}\n\n{"text": \n"x"\n{"tokens": ["Ada"]}\n')
    rows = read(lines)
    assert rows[0] == (f"{lines}:1", {"text": "Ada", "id": 1})
    assert rows[1] == (f"{lines}:3", "Expecting value: line 1 column 9 (char 8)")
    assert rows[2] == (f"{lines}:4", "\"x\" is not a JSON object, such as {'text': …}")
    assert rows[3] == (f"{lines}:5", {"tokens": ["Ada"]})
    whole = tmp_path / "b.json"
    whole.write_text('[\n{"text": "Ada"},\n{"text": "Bob"}]')
    assert read(whole) == [
        (f"{whole}, row 0", {"text": "Ada"}),
        (f"{whole}, row 1", {"text": "Bob"}),
    ]


def test_column_files(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- O\n\nAda B-PER\nwrote O\n\nRain O\n")
    rows = [(f"{path}:3", {"tokens": ["Ada", "wrote"]}), (f"{path}:6", {"tokens": ["Rain"]})]
    assert read(path) == rows
    text = tmp_path / "a.txt.gz"
    text.write_bytes(gzip.compress(path.read_bytes()))
    assert [row for _, row in read(text)] == [row for _, row in rows]
    path.write_text("Ada B-PER\nwrote O\n\nRain O\n\nSun O O\n\nSnow O\n")
    *good, (source, error) = read(path)
    assert len(good) == 2
    assert source == str(path)
    assert f"{path}:6: 3 columns instead of 2" in error
    assert error.endswith("The rest of the file is not annotated")


def test_parquet_and_spacy_files(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"text": ["Ada", None], "id": [1, 2]}), path)
    assert read(path) == [
        (f"{path}, row 0", {"text": "Ada", "id": 1}),
        (f"{path}, row 1", {"text": None, "id": 2}),
    ]
    docs = tmp_path / "a.spacy"
    vocab = spacy.blank("en").vocab
    DocBin(docs=[Doc(vocab, words=["Ada", "wrote"])]).to_disk(docs)
    assert read(docs) == [(f"{docs}, row 0", {"tokens": ["Ada", "wrote"]})]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.parquet", "a.spacy", "a.json"])
def test_a_damaged_file_ends_with_an_error_and_the_next_is_read(tmp_path, name):
    lines = b"".join(b'{"text": "%d"}\n' % i for i in range(5000))
    content = gzip.compress(lines)[:-2000] if name.endswith(".gz") else b"damaged"
    (tmp_path / name).write_bytes(content)
    (tmp_path / "b.txt").write_text("Ada")
    *_, (source, error), last = read(tmp_path / name, tmp_path / "b.txt")
    assert source == str(tmp_path / name)
    assert error.endswith("The rest of the file is not annotated")
    assert last == (f"{tmp_path / 'b.txt'}:1", {"text": "Ada"})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "Ada"}\n{"text": 1\n', [{"text": "Ada"}, "Expecting ',' delimiter"]),
        (b"Ada\n\n{wrote}\n", [{"text": "Ada"}, {"text": "{wrote}"}]),
        (b"", []),
    ],
)
def test_standard_input(monkeypatch, content, expected):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    rows = read("-")
    assert len(rows) == len(expected)
    for (source, row), other in zip(rows, expected, strict=True):
        assert source.startswith("standard input:")
        assert row == other if isinstance(other, dict) else row.startswith(other)


def test_patterns_and_the_position(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps({"text": str(i)}) + "\n" for i in range(9)))
    inputs = Inputs([str(tmp_path / "*.jsonl")])
    assert inputs.files == [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    assert inputs.size == 2 * 9 * len('{"text": "0"}\n')
    positions = [inputs.position for _ in inputs]
    assert positions == sorted(positions)
    assert inputs.position == inputs.size
    assert Inputs(["-"]).size is None


def test_errors(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    for source, message in (
        (tmp_path, "a folder: use a pattern"),
        (tmp_path / "b.txt", "no such file"),
        (tmp_path / "*.txt", "no such file, and no file that matches it"),
        (tmp_path / "a.pdf", "unknown format"),
    ):
        with pytest.raises(ValueError, match=message):
            Inputs([str(source)])
    with pytest.raises(ValueError, match="read only once"):
        Inputs(["-", "-"])
