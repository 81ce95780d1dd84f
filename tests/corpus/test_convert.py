import json
from collections import Counter
from pathlib import Path

import pytest
import spacy
from datasets import Dataset, DatasetDict
from spacy.tokens import DocBin

from bigru_tagger.corpus.convert import SplitCounts, convert, counts_table
from bigru_tagger.corpus.corpus import ConllCorpus
from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.tasks import ENTITIES

TEXT = {
    "train": "-DOCSTART- X O O\n\nAda N B-NP B-PER\nleft V B-VP O\n\nRain N B-NP O\n",
    "dev": "Turin N B-NP B-LOC\n\nAda N B-NP B-PER\nByron N I-NP I-PER\n",
    "test": "Oslo N B-NP B-LOC\n",
}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "columns"
    folder.mkdir()
    for split, text in TEXT.items():
        (folder / f"{split}.conll").write_text(text, encoding="utf-8")
    return str(folder)


def read(path: Path) -> list[spacy.tokens.Doc]:
    return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_have_the_content_of_the_corpus(source, tmp_path):
    counts = convert(source, tmp_path / "new" / "out")
    assert names(tmp_path / "new" / "out") == ["dev.spacy", "test.spacy", "train.spacy"]
    assert list(counts) == ["train", "dev", "test"]
    assert counts["dev"] == SplitCounts(
        documents=2,
        sentences=2,
        tokens=3,
        entities=Counter(LOC=1, PER=1),
        chunks=Counter(NP=2),
    )
    turin, ada = read(tmp_path / "new" / "out" / "dev.spacy")
    assert [(ent.text, ent.label_) for ent in turin.ents] == [("Turin", "LOC")]
    assert [(span.start, span.end, span.label_) for span in ada.spans["chunks"]] == [(0, 2, "NP")]
    assert [token.tag_ for token in ada] == ["N", "N"]
    assert [token.is_sent_start for token in ada] == [True, False]
    # With unknown spaces, spaCy keeps the tokens when it reads the file.
    assert ada.has_unknown_spaces


def test_options_are_passed_to_the_reader(source, tmp_path):
    counts = convert(
        source, tmp_path / "out", splits=["train"], sentences_per_doc=0, spans_key="np", limit=1
    )
    assert names(tmp_path / "out") == ["train.spacy"]
    assert counts["train"].documents == 1
    assert counts["train"].sentences == 2
    [doc] = read(tmp_path / "out" / "train.spacy")
    assert [span.label_ for span in doc.spans["np"]] == ["NP", "VP", "NP"]
    with pytest.raises(CorpusError, match="no setting `color`"):
        convert(source, tmp_path / "out", color=1)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.conll", "a.spacy"),
        ("eng.testb", "eng.testb.spacy"),
        ("columns/dev.conll", "dev.spacy"),
        ("columns/*.conll", "columns.spacy"),
    ],
)
def test_a_source_without_splits_becomes_one_file(path, expected, source, tmp_path):
    for name in ("a.conll", "eng.testb"):
        (tmp_path / name).write_text("Oslo B-LOC\n", encoding="utf-8")
    counts = convert(str(tmp_path / path), tmp_path / "out")
    assert names(tmp_path / "out") == [expected]
    assert list(counts) == [expected.removesuffix(".spacy")]
    with pytest.raises(CorpusError, match="no split test: it has no splits"):
        convert(str(tmp_path / path), tmp_path / "out", splits=["test"])


def test_dataset_keeps_its_own_split_names(tmp_path):
    rows = Dataset.from_dict({"tokens": [["Ada"], ["Oslo"]], "tags": [["S-PER"], ["S-LOC"]]})
    DatasetDict(train=rows, extra=rows.select([1])).save_to_disk(tmp_path / "saved")
    counts = convert(str(tmp_path / "saved"), tmp_path / "out")
    assert names(tmp_path / "out") == ["extra.spacy", "train.spacy"]
    assert counts["extra"].entities == Counter(LOC=1)
    with pytest.raises(CorpusError, match="no split dev, test: choose from train, extra"):
        convert(str(tmp_path / "saved"), tmp_path / "out", splits=["train", "test", "dev"])


def test_after_an_error_the_old_file_is_unchanged(source, tmp_path, monkeypatch):
    convert(source, tmp_path / "out", splits=["test"])
    before = (tmp_path / "out" / "test.spacy").read_bytes()

    def break_off(self, path):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(DocBin, "to_disk", break_off)
    with pytest.raises(OSError, match="disk full"):
        convert(source, tmp_path / "out", splits=["test"])
    assert names(tmp_path / "out") == ["test.spacy"]
    assert (tmp_path / "out" / "test.spacy").read_bytes() == before


def test_replaced_files_are_a_warning(source, tmp_path, caplog):
    convert(source, tmp_path / "out", splits=["train", "dev"])
    assert caplog.messages == []
    convert(f"{source}/train.conll", tmp_path / "out")
    assert caplog.messages == [
        f"{tmp_path / 'out'}: replaced train.spacy: to keep the data of several sources, rename "
        "them, or use an output folder for each"
    ]


def test_spacy_files_need_no_conversion(source, tmp_path):
    convert(source, tmp_path / "out")
    for path in ("out", "out/dev.spacy"):
        with pytest.raises(CorpusError, match="already in spaCy's format"):
            convert(str(tmp_path / path), tmp_path / "again")


def test_documents_are_not_mixed_up(source, tmp_path):
    file = f"{source}/dev.conll"
    convert(file, tmp_path / "out", sentences_per_doc=2)
    [doc] = read(tmp_path / "out" / "dev.spacy")
    [example] = ConllCorpus(file, sentences_per_doc=2)(spacy.blank("en"))
    assert doc.to_json() == example.reference.to_json()


def test_weights_marks_and_names_of_documents_are_kept(tmp_path):
    rows = [
        {"tokens": ["Ada", "left"], "ner_tags": ["B-PER", "-"], "doc_id": "a", "w": 0.5},
        {"tokens": ["Oslo"], "ner_tags": ["O"], "doc_id": "b", "w": 1.0},
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    convert(str(path), tmp_path / "out", weight_column="w", annotated_labels=["PER"])
    docs = read(tmp_path / "out" / "x.spacy")
    assert [doc._.training_weight for doc in docs] == [0.5, None]
    assert [doc._.document_name for doc in docs] == ["a", "b"]
    assert [ENTITIES.annotated_labels(doc) for doc in docs] == [{"PER"}, {"PER"}]
    assert [token.ent_iob_ for doc in docs for token in doc] == ["B", "", "O"]


def test_table():
    counts = {
        "train": SplitCounts(1200, 1200, 15000, Counter(PER=10, LOC=3)),
        "dev": SplitCounts(2, 3, 40, Counter({"LOC": 1, "NEW-ONE": 2})),
    }
    assert counts_table(counts) == (
        "            train  dev\n"
        "Docs        1,200    2\n"
        "sentences   1,200    3\n"
        "tokens     15,000   40\n"
        "entities       13    3\n"
        "  LOC           3    1\n"
        "* NEW-ONE       0    2\n"
        "  PER          10    0\n"
        "* not in train"
    )


def test_table_without_a_training_split():
    counts = {"x": SplitCounts(1, 1, 2, Counter(), Counter(NP=1))}
    assert counts_table(counts) == (
        "           x\nDocs       1\nsentences  1\ntokens     2\nchunks     1\n  NP       1"
    )
