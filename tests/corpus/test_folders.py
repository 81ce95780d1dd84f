"""Which files of a folder are read, and what is reported about the others."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import spacy

from bigru_tagger.corpus.corpus import corpus_splits, open_corpus
from bigru_tagger.corpus.folders import builder_of, files_by_format
from bigru_tagger.corpus.sentences import CorpusError

ROW = '{"tokens": ["Ada"], "ner_tags": ["B-PER"]}\n'
COLUMNS = "Ada B-PER\n"
LIST = f"[\n{ROW.strip()},\n{ROW}]\n"
TUPLES = '[["Ada left", {"entities": [[0, 3, "PER"]]}]]'


MANY = "0.tsv, 1.tsv, 10.tsv, 11.tsv, 2.tsv, 3.tsv, 4.tsv, 5.tsv, 6.tsv, 7.tsv, and 2 more"


def write(folder: Path, files: dict[str, str] | list[str]) -> str:
    for name in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files[name] if isinstance(files, dict) else COLUMNS, encoding="utf-8")
    return str(folder)


def words(source: str, split: str | None = None) -> list[str]:
    corpus = open_corpus(source, split=split)
    return [token.text for example in corpus(spacy.blank("en")) for token in example.reference]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (
            ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"],
            ["train", "dev", "test"],
        ),
        (["train", "dev", "test"], ["train", "dev", "test"]),
        (["onto.train.ner", "onto.development.ner"], ["train", "development"]),
        (["train.col", "test.conllup"], ["train", "test"]),
        (["wnut16_train", "wnut16.test"], ["train", "test"]),
    ],
)
def test_suffixes_of_published_data(tmp_path, names, splits):
    folder = write(tmp_path, names)
    write(tmp_path, {"README": "How to train\n", "LICENSE": "free\n", "config.json": "{}"})
    assert corpus_splits(folder) == splits
    for split in splits:
        assert words(folder, split) == ["Ada"]


@pytest.mark.parametrize(
    ("names", "unread"),
    [
        (["train.conll", "test.conll", "more/train2.conll"], "more/train2.conll"),
        (["train_stations.conll", "bus_stations.conll"], "bus_stations.conll"),
        (["trainval.conll", "train.conll"], "trainval.conll"),
        (["train.conll", "train_dev.conll"], "train_dev.conll"),
        (["train.conll", "test.xml", "dev.tar.gz"], "dev.tar.gz, test.xml"),
        (["train.conll", "news.jsonl", "pages.txt"], "news.jsonl, pages.txt"),
        (["train.conll", *(f"{i}.tsv" for i in range(12))], MANY),
    ],
)
def test_unread_data_are_a_warning(tmp_path, caplog, names, unread):
    folder = write(tmp_path, names)
    for _ in range(2):  # reported once
        assert words(folder, "train") == ["Ada"]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    caplog.clear()
    [path, listed] = record.args
    assert str(path) == folder
    assert listed == unread


@pytest.mark.parametrize(
    "name",
    [
        *("README", "README.txt", "readme_train.txt", "LICENSE", "train.py", "train.log"),
        *("config.json", "labels.txt", "tags.txt", ".train.conll", "dataset_infos.json"),
    ],
)
def test_files_that_are_not_data(tmp_path, caplog, name):
    text = {"labels.txt": "O\nB-PER\nI-PER\n", "tags.txt": "0 O\n1 B-PER\n2 I-PER\n"}
    folder = write(tmp_path / "x", {name: text.get(name, '{"train": 1}'), "a.conll": COLUMNS})
    assert words(folder) == ["Ada"]
    (tmp_path / "x" / "a.conll").rename(tmp_path / "x" / "train.conll")
    assert words(folder, "train") == ["Ada"]
    assert caplog.messages == []


def test_files_without_splits_are_read_at_any_depth(tmp_path, caplog):
    folder = write(tmp_path, ["bn/a.conll", "nw/b.conll", "c.conll"])
    assert words(folder) == ["Ada"] * 3
    assert caplog.messages == []


@pytest.mark.parametrize(
    "text", [ROW, ROW * 2, LIST, '[["Ada left", {"entities": [[0, 3, "PER"]]}]]']
)
def test_rows_in_text_files(tmp_path, text):
    folder = write(tmp_path, {"train.txt": text, "test.txt": text})
    assert builder_of(tmp_path / "train.txt") == "json"
    assert corpus_splits(folder) == ["train", "test"]
    assert set(words(folder, "test")) <= {"Ada", "left"}
    assert words(folder, "test") == words(str(tmp_path / "train.txt"))


@pytest.mark.parametrize("text", ["[ O\n{ O\n", "[\n", '{"a\n', "Ada B-PER\n[ O\n"])
def test_brackets_do_not_make_rows(tmp_path, text):
    write(tmp_path, {"x.txt": text})
    assert builder_of(tmp_path / "x.txt") == ""


def test_text_and_json_files_alone_are_data(tmp_path):
    write(tmp_path, {"t/a.txt": "Ada;B-PER\n", "t/README.txt": "", "j/a.json": '{"mine": 1}'})
    assert files_by_format(tmp_path / "t") == {
        "": [tmp_path / "t" / "README.txt"],
        "columns": [tmp_path / "t" / "a.txt"],
    }
    assert files_by_format(tmp_path / "j") == {"": [], "json": [tmp_path / "j" / "a.json"]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "x: no data files: it has no files"),
        (["b.foo", "a.md"], r"x: no data files: it has a.md, b.foo: .* \.annotated, \.arrow"),
        (["a.csv", "b.jsonl"], r"several formats \(a.csv, b.jsonl\): use one"),
        (["train.csv", "test.jsonl"], r"named after splits \(.*\): use one"),
    ],
)
def test_folders_that_cannot_be_read(tmp_path, names, message):
    (tmp_path / "x").mkdir()
    with pytest.raises(CorpusError, match=message):
        open_corpus(write(tmp_path / "x", names))


def archive(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as files:
        files.addfile(tarfile.TarInfo("train.conll"))
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as files:
        files.writestr("train.conll", COLUMNS)
    return stream.getvalue()


def saved_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tar.gz", archive("w:gz"), "an archive: unpack it"),
        ("x.tgz", archive("w:gz"), "compressed: unpack it"),
        ("x.conll", archive("w"), "an archive: unpack it"),
        ("x", zipped(), "an archive: unpack it"),
        ("x.jsonl", zipped(), "an archive: unpack it"),
        ("x.xlsx", zipped(), "a spreadsheet: export the sheet as a CSV file"),
        ("x.docx", zipped(), "a text document: export it as plain text"),
        ("x.npz", zipped(), "saved arrays: write"),
        ("x.npy", saved_array(), "a NumPy array: write"),
        ("x.pkl", pickle.dumps([COLUMNS]), "a pickle: write"),
        ("x.conll", gzip.compress(b"a O\n"), "compressed: .* end in .gz"),
        ("x.conll", bz2.compress(b"a O\n"), "compressed: .* end in .bz2"),
        ("x.conll", lzma.compress(b"a O\n"), "compressed: .* end in .xz"),
        ("x.pdf", b"%PDF-1.7\n\0", "a PDF document"),
    ],
)
def test_files_that_are_not_text_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=f"{name}: {message}"):
        words(str(tmp_path / name))


def test_a_token_like_the_mark_of_a_format(tmp_path):
    assert words(write(tmp_path, {"a.conll": "PAR1 B-GENE\n", "b.conll": "PK O\n"})) == [
        "PAR1",
        "PK",
    ]
