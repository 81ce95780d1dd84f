"""Tests of the readers of texts for a teacher."""

from pathlib import Path

import pytest
import spacy
from datasets import Dataset
from spacy.tokens import Doc, DocBin

from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.distill.texts import read_texts


def read(source, **options):
    nlp = spacy.blank("en")
    return list(read_texts(str(source), nlp, split="train", **options))


def words(docs):
    return [[token.text for token in doc] for doc in docs]


def test_plain_text_has_one_text_per_line(tmp_path: Path):
    path = tmp_path / "plain.txt"
    path.write_text("Ada wrote to London.\n\n  I-beams fell .\n", encoding="utf-8-sig")
    docs = read(path)
    assert words(docs) == [
        ["Ada", "wrote", "to", "London", "."],
        ["I", "-", "beams", "fell", "."],
    ]
    assert docs[0].text == "Ada wrote to London."
    assert not docs[0].has_annotation("ENT_IOB")


@pytest.mark.parametrize("start", ["", "-DOCSTART- -X- O O\n\n", "-DOCSTART-\n\n"])
def test_the_column_format_is_detected_in_a_txt_file(tmp_path: Path, start: str):
    path = tmp_path / "columns.txt"
    line = "{} NN O {}\n" if "-X-" in start else "{} {}\n"
    rows = line.format("Ada", "B-PER") + line.format("fell", "O")
    path.write_text(f"{start}{rows}\n{rows}", encoding="utf8")
    docs = read(path)
    assert words(docs) == [["Ada", "fell"]] * 2
    assert [ent.label_ for ent in docs[0].ents] == ["PER"]
    assert words(read(path, sentences_per_doc=2)) == [["Ada", "fell", "Ada", "fell"]]


def test_annotation_is_optional(tmp_path: Path):
    columns = tmp_path / "tokens.conll"
    columns.write_text("Ada\nfell\n\nRain\n", encoding="utf8")
    folder = tmp_path / "dataset"
    Dataset.from_dict({"tokens": [["Ada", "fell"], [], ["Rain"]]}).save_to_disk(str(folder))
    for source in (columns, folder):
        docs = read(source)
        assert words(docs) == [["Ada", "fell"], ["Rain"]]
        assert not docs[0].has_annotation("ENT_IOB")


def test_spacy_files(tmp_path: Path):
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=["Ada", "fell"], ents=["B-PER", "O"]), Doc(vocab, words=["Rain"])]
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    found = read(tmp_path / "train.spacy")
    assert words(found) == [["Ada", "fell"], ["Rain"]]
    assert [doc.has_annotation("ENT_IOB") for doc in found] == [True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no (text|sentence)"), (b"\n\n", "no (text|sentence)"), (b"caf\xe9\n", "UTF-8")],
)
def test_files_without_text(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(path)
