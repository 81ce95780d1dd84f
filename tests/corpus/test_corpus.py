import csv
import json
from functools import partial
from pathlib import Path

import datasets
import pytest
import spacy
from confection import Config
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.tokens import DocBin
from spacy.training import Corpus, Example
from spacy.util import registry

from bigru_tagger.corpus.corpus import (
    AnyCorpus,
    ConllCorpus,
    HFCorpus,
    corpus_splits,
    open_corpus,
    settings_for,
)
from bigru_tagger.corpus.sentences import CorpusError

NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
ROWS = {
    "tokens": [["Ada", "Byron", "saw", "Turin"], [], ["Rain", "fell"], ["Ada", "left"]],
    "ner_tags": [[1, 2, 0, 3], [], [0, 0], [1, 0]],
    "pos_tags": [["NNP", "NNP", "VBD", "NNP"], [], ["NN", "VBD"], ["NNP", "VBD"]],
    "chunk_tags": [["B-NP", "I-NP", "B-VP", "B-NP"], [], ["B-NP", "B-VP"], ["B-NP", "B-VP"]],
    "document_id": [0, 0, 0, 1],
}
FEATURES = Features(
    {
        "tokens": List(Value("string")),
        "ner_tags": List(ClassLabel(names=NER)),
        "pos_tags": List(Value("string")),
        "chunk_tags": List(Value("string")),
        "document_id": Value("int64"),
    }
)
# The same as an IOB1 column file with a byte-order mark, CRLF, tabs, a comment and
# blank lines after the last sentence.
COLUMNS = (
    "\ufeff-DOCSTART- -X- O O\r\n\r\n# a comment\r\nAda NNP I-NP I-PER\r\n"
    "Byron\tNNP\tI-NP\tI-PER\r\nsaw VBD I-VP O\r\nTurin  NNP I-NP I-LOC\r\n\r\n"
    "\r\nRain NN I-NP O\r\nfell VBD I-VP O\r\n"
    "-DOCSTART- -X- O O\r\n\r\nAda NNP I-NP I-PER\r\nleft VBD I-VP O\r\n\r\n \r\n"
)


@pytest.fixture
def nlp():
    return spacy.blank("en")


@pytest.fixture(autouse=True)
def _separate_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "saved"
    rows = Dataset.from_dict(ROWS, features=FEATURES)
    DatasetDict(train=rows, test=rows.select([2])).save_to_disk(folder)
    return str(folder)


@pytest.fixture
def columns_file(tmp_path):
    return write(tmp_path / "columns" / "a.conll", COLUMNS)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def write_rows(path: Path, *rows: dict[str, object]) -> str:
    return str(write(path, "".join(json.dumps(row) + "\n" for row in rows)))


def save(folder: Path, **columns: list[object]) -> str:
    Dataset.from_dict(columns).save_to_disk(folder)
    return str(folder)


def summary(examples: list[Example]) -> list[tuple[object, ...]]:
    """The annotation of the gold Docs as plain values."""
    return [
        (
            [token.text for token in eg.reference],
            [(ent.label_, ent.start, ent.end) for ent in eg.reference.ents],
            [token.tag_ for token in eg.reference],
            [(span.label_, span.start, span.end) for span in eg.reference.spans["chunks"]],
            [token.i for token in eg.reference if token.is_sent_start],
        )
        for eg in examples
    ]


ADA = (
    ["Ada", "Byron", "saw", "Turin"],
    [("PER", 0, 2), ("LOC", 3, 4)],
    ["NNP", "NNP", "VBD", "NNP"],
    [("NP", 0, 2), ("VP", 2, 3), ("NP", 3, 4)],
    [0],
)
RAIN = (["Rain", "fell"], [], ["NN", "VBD"], [("NP", 0, 1), ("VP", 1, 2)], [0])
LEFT = (["Ada", "left"], [("PER", 0, 1)], ["NNP", "VBD"], [("NP", 0, 1), ("VP", 1, 2)], [0])
ADA_RAIN = (
    ["Ada", "Byron", "saw", "Turin", "Rain", "fell"],
    [("PER", 0, 2), ("LOC", 3, 4)],
    ["NNP", "NNP", "VBD", "NNP", "NN", "VBD"],
    [("NP", 0, 2), ("VP", 2, 3), ("NP", 3, 4), ("NP", 4, 5), ("VP", 5, 6)],
    [0, 4],
)


@pytest.fixture(params=["dataset", "columns"])
def make_reader(request, saved, columns_file):
    """One of the readers, as a function of its settings."""
    reader, path = {"dataset": (HFCorpus, saved), "columns": (ConllCorpus, columns_file)}[
        request.param
    ]
    return partial(reader, path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [ADA, RAIN, LEFT]),
        ({"limit": 2}, [ADA, RAIN]),
        ({"sentences_per_doc": 2}, [ADA_RAIN, LEFT]),
        ({"sentences_per_doc": 5}, [ADA_RAIN, LEFT]),
        ({"sentences_per_doc": 0}, [ADA_RAIN, LEFT]),
        ({"sentences_per_doc": 0, "limit": 1}, [ADA_RAIN]),
    ],
)
def test_both_readers_give_the_same_docs(make_reader, options, expected, nlp):
    corpus = make_reader(**options)
    assert summary(list(corpus(nlp))) == expected
    assert summary(list(corpus(nlp))) == expected, "the second call reads from the start again"


def test_the_predicted_doc_has_no_annotation(saved, nlp):
    example = next(iter(HFCorpus(saved)(nlp)))
    assert [token.text for token in example.predicted] == ADA[0]
    for annotation in ("ENT_IOB", "TAG", "SENT_START"):
        assert example.reference.has_annotation(annotation, require_complete=True)
        assert not example.predicted.has_annotation(annotation)
    assert "chunks" not in example.predicted.spans
    assert example.get_aligned_ner() == ["B-PER", "L-PER", "O", "U-LOC"]
    assert [token.is_sent_start for token in example.reference] == [True, False, False, False]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sentences_per_doc": 2}, [[0, 4], None]),
        ({"sentences_per_doc": 0}, [[0, 4], None]),
        ({"sentences_per_doc": 2, "given_sentences": False}, [None, None]),
        ({}, [None, None, None]),
    ],
)
def test_the_predicted_doc_of_several_sentences_has_sentence_starts(
    make_reader, options, expected, nlp
):
    examples = list(make_reader(**options)(nlp))
    assert [
        [token.i for token in eg.predicted if token.is_sent_start]
        if eg.predicted.has_annotation("SENT_START", require_complete=True)
        else None
        for eg in examples
    ] == expected
    for example in examples:
        assert example.reference.has_annotation("SENT_START", require_complete=True)
        assert not example.predicted.has_annotation("ENT_IOB")
        assert not example.predicted.has_annotation("TAG")


def test_ignored_columns_are_missing_not_empty(saved, nlp):
    corpus = HFCorpus(saved, ner_column="", chunk_column="", document_column="")
    reference = next(iter(corpus(nlp))).reference
    assert not reference.has_annotation("ENT_IOB")
    assert "chunks" not in reference.spans
    assert [token.tag_ for token in reference] == ADA[2]
    pos_off = next(iter(HFCorpus(saved, pos_column="", spans_key="sc")(nlp))).reference
    assert not pos_off.has_annotation("TAG")
    assert [span.label_ for span in pos_off.spans["sc"]] == ["NP", "VP", "NP"]


@pytest.mark.parametrize("explicit", [True, False])
def test_a_scheme_that_is_set_applies_to_chunks(tmp_path, nlp, caplog, explicit):
    path = tmp_path / "x.jsonl"
    row = {"tokens": ["Ada", "left"], "ner_tags": ["PER", "O"], "chunk_tags": ["NP", "VP"]}
    path.write_text(json.dumps(row))
    named = {"chunk_column": "chunk_tags"} if explicit else {}
    [example] = open_corpus(str(path), scheme="io", **named)(nlp)
    assert [ent.label_ for ent in example.reference.ents] == ["PER"]
    chunks = [span.label_ for span in example.reference.spans.get("chunks", ())]
    assert chunks == (["NP", "VP"] if explicit else [])
    assert ("The chunk column is ignored. If it holds chunks" in caplog.text) != explicit


def test_gold_tokens_are_kept_in_spacy_files(saved, nlp, tmp_path):
    file = tmp_path / "x.spacy"
    gold = [example.reference for example in HFCorpus(saved)(nlp)]
    DocBin(docs=gold).to_disk(file)
    assert summary(list(Corpus(file)(nlp))) == [ADA, RAIN, LEFT]


@pytest.mark.parametrize("streaming", [False, True])
def test_json_files_with_strings(tmp_path, nlp, streaming):
    file = write_rows(
        tmp_path / "a.jsonl",
        {
            "words": ["Ada", "of", "Turin"],
            "labels": ["S-PER", "O", "S-LOC"],
            "upos": ["N", "P", "N"],
        },
    )
    corpus = HFCorpus("json", data_files=file, streaming=streaming)
    [example] = corpus(nlp)
    assert corpus.schemes.ner == "IOBES"
    assert example.get_aligned_ner() == ["U-PER", "O", "U-LOC"]
    assert [token.tag_ for token in example.reference] == ["N", "P", "N"]


def test_parquet_folder_with_splits(tmp_path, nlp):
    rows = Dataset.from_dict(ROWS, features=FEATURES)
    folder = tmp_path / "hubshaped"
    folder.mkdir()
    rows.to_parquet(folder / "train-00000-of-00001.parquet")
    rows.select([3]).to_parquet(folder / "test-00000-of-00001.parquet")
    assert summary(list(HFCorpus(str(folder))(nlp))) == [ADA, RAIN, LEFT]
    assert summary(list(HFCorpus(str(folder), split="test", streaming=True)(nlp))) == [LEFT]
    assert summary(list(HFCorpus(str(folder), split="train[:1]")(nlp))) == [ADA]
    assert corpus_splits(str(folder)) == ["train", "test"]
    with pytest.raises(CorpusError, match=r"dev.*the files are .*train-00000"):
        list(HFCorpus(str(folder), split="dev")(nlp))


@pytest.mark.skipif(
    not hasattr(datasets.packaged_modules, "conll"), reason="needs a version of datasets with conll"
)
def test_builder_with_options(tmp_path, nlp):
    file = write(tmp_path / "x.conll", "Ada I-PER\nleft O\n")
    options = {"column_names": ["tokens", "ner_tags"]}
    [example] = HFCorpus("conll", data_files=str(file), load_options=options)(nlp)
    assert example.get_aligned_ner() == ["U-PER", "O"]


def test_csv_text_is_split(tmp_path, nlp):
    file = write(tmp_path / "x.csv", "tokens,tags\nAda left Turin,B-PER O B-LOC\n")
    [example] = open_corpus(str(file))(nlp)
    assert example.get_aligned_ner() == ["U-PER", "O", "U-LOC"]


def test_the_scheme_of_a_stream_is_detected_from_its_first_rows(tmp_path, nlp, monkeypatch):
    monkeypatch.setattr("bigru_tagger.corpus.readers.BATCH_SIZE", 2)
    rows = [{"tokens": ["a"], "tags": [tag]} for tag in ("B-X", "O", "S-X")]
    file = write_rows(tmp_path / "a.jsonl", *rows)
    assert HFCorpus("json", data_files=file).schemes.ner == "IOBES"
    stream = HFCorpus("json", data_files=file, streaming=True)
    assert stream.schemes.ner == "IOB2"
    with pytest.raises(CorpusError, match="row 2: tag 'S-X' at position 0"):
        list(stream(nlp))
    given_scheme = HFCorpus("json", data_files=file, streaming=True, scheme="IOBES")
    assert [eg.get_aligned_ner() for eg in given_scheme(nlp)] == [["U-X"], ["O"], ["U-X"]]


def test_dataset_is_loaded_once(saved, nlp, monkeypatch):
    loads = []
    load = datasets.load_from_disk
    monkeypatch.setattr(datasets, "load_from_disk", lambda path: loads.append(path) or load(path))
    corpus = HFCorpus(saved)
    assert len(list(corpus(nlp))) == len(list(corpus(nlp))) == 3
    assert loads == [str(Path(saved, "train"))]


def test_saved_single_dataset_in_tensor_format(tmp_path, nlp):
    rows = Dataset.from_dict(ROWS, features=FEATURES).with_format("numpy")
    rows.save_to_disk(tmp_path / "one")
    assert summary(list(HFCorpus(str(tmp_path / "one"), split="test")(nlp))) == [ADA, RAIN, LEFT]
    assert corpus_splits(str(tmp_path / "one")) == []


def test_tag_numbers_are_mapped_to_tag_names(tmp_path, nlp):
    folder = save(tmp_path / "plain", tokens=[["Ada", "left"]], tags=[[1, 0]])
    with pytest.raises(CorpusError, match=r"row 0: 'tags' holds 1, not a string: set tag_names"):
        list(HFCorpus(folder)(nlp))
    [example] = HFCorpus(folder, tag_names={"tags": ["O", "B-PER"]})(nlp)
    assert example.get_aligned_ner() == ["U-PER", "O"]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"tags": [["O", "O"]]}, {}, "1 tokens but 2 tags"),
        ({"tags": [["X-PER"]]}, {}, "tag 'X-PER' at position 0: valid tags are 'O'"),
        (
            {"tags": [["X-PER"]]},
            {"scheme": "IOB2"},
            "tag 'X-PER' at position 0: valid tags are 'O'",
        ),
        ({"tags": [["O"]], "pos": [["N", "N"]]}, {"pos_column": "pos"}, "'pos' has 2 tags for 1"),
        ({"tags": [[-1]]}, {"tag_names": {"tags": ["O"]}}, "holds -1, .* numbered 0 to 0"),
        ({"tags": [[["O"]]]}, {"tag_names": {"tags": ["O"]}}, r"holds \['O'\], but"),
        ({"tags": [[["O"]]]}, {}, r"holds \['O'\], not a string: use a column"),
        ({"tags": [None]}, {"ner_column": "tags"}, "holds None, not one item per token"),
        ({"tags": [["O"]], "tokens": [[""]]}, {}, "an empty token"),
    ],
)
def test_bad_row_is_named(tmp_path, nlp, columns, options, message):
    folder = save(tmp_path / "bad", **{"tokens": [["a"]], **columns})
    with pytest.raises(CorpusError, match=rf"bad \[train\], row 0: .*{message}"):
        list(HFCorpus(folder, **options)(nlp))


def test_rows_count_across_batches(tmp_path, nlp, monkeypatch):
    monkeypatch.setattr("bigru_tagger.corpus.rows.BATCH_SIZE", 2)
    tags = [["O"], [], ["O"], ["B-X"], ["PER"]]
    folder = save(tmp_path / "bad", tokens=[["a"]] * 5, tags=tags)
    with pytest.raises(CorpusError, match="row 4: tag 'PER'"):
        list(HFCorpus(folder)(nlp))
    with pytest.raises(CorpusError, match="row 1: 1 tokens but 0 tags"):
        list(HFCorpus(folder, scheme="IOB2")(nlp))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"ner_column": "gold"},
            r"no column 'gold' \(ner_column\): choose one of id, tokens, note",
        ),
        ({}, "no annotation: set ner_column, pos_column or chunk_column to one of id, tokens"),
        (
            {"tokens_column": ""},
            "no column of tokens: set tokens_column, or text_column .* to one of id, tokens",
        ),
        (
            {"pos_column": "tokens", "sentences_per_doc": 0},
            "requires document boundaries: set document_column",
        ),
    ],
)
def test_invalid_columns(tmp_path, nlp, options, message):
    folder = save(tmp_path / "x", id=[1], tokens=[["a"]], note=[5])
    with pytest.raises(CorpusError, match=message):
        list(HFCorpus(folder, **options)(nlp))


def test_column_of_single_labels_is_no_tag_column(tmp_path, nlp):
    folder = save(tmp_path / "x", tokens=[["a", "b"]], labels=[3], tags=[["O", "B-X"]])
    assert HFCorpus(folder).columns.ner == "tags"


@pytest.mark.parametrize("streaming", [False, True])
def test_split_without_tokens(tmp_path, nlp, streaming):
    file = write_rows(tmp_path / "none.jsonl", {"tokens": [], "tags": []})
    with pytest.raises(CorpusError, match=r"none.jsonl \[train\]: no sentence has tokens"):
        list(HFCorpus("json", data_files=file, streaming=streaming)(nlp))


def test_config_fills_to_itself_and_resolves():
    config = Config().from_str(
        """
        [train]
        @readers = "bigru_tagger.HFCorpus.v1"
        path = "json"
        data_files = {"train": ["a.jsonl", "b.jsonl"]}
        tag_names = {"tags": ["O", "B-X"]}

        [dev]
        @readers = "bigru_tagger.ConllCorpus.v1"
        path = "dev.conll"
        columns = ["tokens", "_", "ner"]
        """
    )
    filled = registry.fill(config)
    assert registry.fill(Config().from_str(filled.to_str())) == filled
    assert filled["train"]["split"] == "train"
    assert filled["dev"]["encoding"] == "utf-8"
    readers = registry.resolve(filled)
    assert readers["train"] == HFCorpus(
        "json", data_files={"train": ["a.jsonl", "b.jsonl"]}, tag_names={"tags": ["O", "B-X"]}
    )
    assert readers["dev"] == ConllCorpus("dev.conll", columns=["tokens", "_", "ner"])


@pytest.mark.parametrize("setting", [{"sentences_per_doc": -1}, {"limit": -1}])
def test_negative_numbers(setting):
    with pytest.raises(ValueError, match="must be 0 or more, not -1"):
        HFCorpus("x", **setting)


def test_unknown_scheme():
    with pytest.raises(ValueError, match="unknown tag scheme 'BMEX'"):
        ConllCorpus("x", scheme="BMEX")


tokens = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs"]), min_size=1, max_size=6)
tagged = st.tuples(tokens.filter(lambda t: t[0] not in "#-\ufeff"), st.sampled_from(NER))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(sentences=st.lists(st.lists(tagged, min_size=1, max_size=5), min_size=1, max_size=4))
def test_any_text_is_read_alike_from_both_sources(sentences, tmp_path, nlp):
    file = tmp_path / "x.conll"
    write(file, "\n\n".join("\n".join(" ".join(pair) for pair in s) for s in sentences))
    folder = tmp_path / "x"
    save(
        folder,
        tokens=[[word for word, _ in sentence] for sentence in sentences],
        tags=[[tag for _, tag in sentence] for sentence in sentences],
    )
    from_file = list(ConllCorpus(file, scheme="IOB2")(nlp))
    from_dataset = list(HFCorpus(str(folder), scheme="IOB2")(nlp))
    assert [[t.text for t in eg.reference] for eg in from_file] == [
        [word for word, _ in sentence] for sentence in sentences
    ]
    for one, other in zip(from_file, from_dataset, strict=True):
        assert one.reference.to_json() == other.reference.to_json()


def test_the_reader_is_chosen_by_format(saved, columns_file, tmp_path):
    spacy_file = write(tmp_path / "x.spacy", "")
    rows = write_rows(tmp_path / "x.jsonl", {"tokens": ["a"], "tags": ["O"]})
    assert isinstance(open_corpus(str(spacy_file)), Corpus)
    assert open_corpus(str(columns_file), limit=3) == ConllCorpus(str(columns_file), limit=3)
    assert open_corpus("some/*.conll") == ConllCorpus("some/*.conll")
    assert open_corpus(saved) == HFCorpus(saved, split="test")
    assert open_corpus("some/id", split="dev") == HFCorpus("some/id", split="dev")
    assert open_corpus(rows) == HFCorpus("json", split="test", data_files={"test": rows})
    assert corpus_splits(rows) == corpus_splits(str(columns_file)) == []


def test_folder_of_files_named_after_splits(tmp_path):
    for name in ("eng.train", "eng.testa", "eng.testb"):
        write(tmp_path / "classic" / name, "a O\n")
    folder = str(tmp_path / "classic")
    assert corpus_splits(folder) == ["train", "testa", "testb"]
    assert open_corpus(folder) == ConllCorpus(str(tmp_path / "classic" / "eng.testb"))
    assert open_corpus(folder, split="dev").path.endswith("eng.testa")
    with pytest.raises(
        CorpusError,
        match=r"no file of the split 'x': the files are eng.testa, eng.testb, eng.train",
    ):
        open_corpus(folder, split="x")


def test_folder_of_files_without_splits(tmp_path):
    write(tmp_path / "plain" / "a.conll", "a O\n")
    folder = str(tmp_path / "plain")
    assert open_corpus(folder) == ConllCorpus(folder)
    assert corpus_splits(folder) == []


def test_folder_of_spacy_files(saved, nlp, tmp_path):
    gold = [example.reference for example in HFCorpus(saved)(nlp)]
    (tmp_path / "docs" / "train").mkdir(parents=True)
    DocBin(docs=gold[:1]).to_disk(tmp_path / "docs" / "dev.spacy")
    DocBin(docs=gold[1:]).to_disk(tmp_path / "docs" / "train" / "0.spacy")
    folder = str(tmp_path / "docs")
    assert summary(list(open_corpus(folder, split="validation")(nlp))) == [ADA]
    assert summary(list(open_corpus(folder, split="train")(nlp))) == [RAIN, LEFT]
    assert corpus_splits(folder) == ["train", "dev"]
    with pytest.raises(
        CorpusError, match=r"no file of the split 'test': the files are dev.spacy, train"
    ):
        open_corpus(folder)


def test_a_folder_of_parquet_and_text_is_a_dataset(tmp_path):
    write(tmp_path / "hub" / "LICENSE.txt", "free")
    write(tmp_path / "hub" / "data" / "train.parquet", "")
    assert isinstance(open_corpus(str(tmp_path / "hub")), HFCorpus)


@pytest.mark.parametrize("name", ["x.spacy", "x.json", "eng.testb"])
def test_missing_file_is_not_taken_for_a_hub_id(tmp_path, name):
    with pytest.raises(CorpusError, match=f"{name}: no such file"):
        open_corpus(str(tmp_path / name))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "some/id",
            "read by HFCorpus, which has no setting `color`, `shape`: choose from alignment, anno",
        ),
        (
            "some/*.conll",
            "read by ConllCorpus, which has no setting `color`, `shape`: choose from annotated",
        ),
    ],
)
def test_unknown_setting(source, message):
    with pytest.raises(CorpusError, match=message):
        open_corpus(source, shape=1, color=2)
    with pytest.raises(CorpusError, match=message):
        corpus_splits(source, shape=1, color=2)


@pytest.mark.parametrize("name", ["x[1].jsonl", "x?.jsonl", "x[1].parquet", "x[1].csv"])
def test_a_name_with_wildcards_is_that_of_its_file(tmp_path, nlp, name):
    ending = name.partition(".")[2]
    for file, word in ((name, "Right"), (f"x1.{ending}", "Wrong")):
        rows = Dataset.from_dict({"tokens": [f"{word} left"], "ner_tags": ["B-PER O"]})
        getattr(rows, {"jsonl": "to_json"}.get(ending, f"to_{ending}"))(tmp_path / file)
    [example] = open_corpus(str(tmp_path / name))(nlp)
    assert example.reference.text.split() == ["Right", "left"]


def test_a_folder_with_wildcards_in_its_name(tmp_path, nlp):
    for folder, word in (("data[12]", "Right"), ("data1", "Wrong")):
        (tmp_path / folder).mkdir()
        rows = Dataset.from_dict({"tokens": [[word]], "ner_tags": [["B-PER"]]})
        rows.to_parquet(tmp_path / folder / "train.parquet")
    [example] = open_corpus(str(tmp_path / "data[12]"), split="train")(nlp)
    assert example.reference.text.strip() == "Right"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens,ner_tags\nAda,B-PER\nLovelace,I-PER\nleft,O\n", "row 0: each row holds one token"),
        (
            "tokens,pos_tags\n\"['Ada', 'left']\",\"['NNP', 'VBD']\"\n",
            "'tokens' holds a list that",
        ),
        ('tokens,ner_tags\nAda left,"[1, 0]"\n', "row 0: 'ner_tags' holds a list that"),
    ],
)
def test_rows_of_csv_that_are_no_sentences(tmp_path, nlp, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        list(open_corpus(str(tmp_path / "x.csv"))(nlp))


def test_texts_of_one_token(tmp_path, nlp):
    (tmp_path / "x.csv").write_text("tokens,ner_tags\nAda,B-PER\nIt left,O O\n[NAME] left,O O\n")
    examples = list(open_corpus(str(tmp_path / "x.csv"))(nlp))
    assert [example.reference.text.strip() for example in examples] == [
        "Ada",
        "It left",
        "[NAME] left",
    ]


TABLE = [  # token, part-of-speech tag, entity tag; None between sentences
    ("Ada", "NNP", "B-PER"),
    ("Lovelace", "NNP", "I-PER"),
    ("saw", "VBD", "O"),
    ("NA", "NNP", "B-ORG"),
    (",", ",", "O"),
    None,
    ("null", "NN", "O"),
    ("left", "VBD", "O"),
    ("Café", "NNP", "B-LOC"),
]


def table_rows(names, repeat):
    number, rows = 1, []
    shown = True
    for entry in TABLE:
        if entry is None:
            number, shown = number + 1, True
            continue
        rows.append([f"Sentence: {number}" if shown or repeat else "", *entry])
        shown = False
    return [names, *rows]


@pytest.mark.parametrize(
    "names",
    [
        ["Sentence #", "Word", "POS", "Tag"],  # as on Kaggle
        ["sentence_id", "token", "pos_tag", "ner_tag"],
        ["sent_id", "tokens", "pos", "ner"],
        ["SentenceNumber", "words", "pos_tags", "tags"],
    ],
)
@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("form", [("utf-8", ","), ("latin-1", ";")])
def test_a_table_with_one_token_per_row(tmp_path, nlp, names, repeat, form):
    path = tmp_path / "x.csv"
    encoding, separator = form
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=separator).writerows(table_rows(names, repeat))
    examples = list(open_corpus(str(path), encoding=encoding, separator=separator)(nlp))
    sentences = [[entry for entry in TABLE[:5] if entry], TABLE[6:]]
    found = [[(t.text, t.tag_) for t in example.reference] for example in examples]
    assert found == [[entry[:2] for entry in sentence] for sentence in sentences]
    entities = [[(e.text, e.label_) for e in example.reference.ents] for example in examples]
    assert entities == [[("Ada Lovelace", "PER"), ("NA", "ORG")], [("Café", "LOC")]]


TOKENS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=5)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sentences=st.lists(st.lists(TOKENS, min_size=1, max_size=4), min_size=1, max_size=4),
    repeat=st.booleans(),
)
def test_a_table_keeps_every_token(tmp_path_factory, sentences, repeat):
    sentences = [["Ada", "left"], *sentences]
    path = tmp_path_factory.mktemp("table") / "x.csv"
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence_id", "token", "tag"])
        for number, sentence in enumerate(sentences):
            for position, token in enumerate(sentence):
                shown = repeat or not position
                writer.writerow([f"s{number}" if shown else "", token, "B-X" if shown else "I-X"])
    found = list(open_corpus(str(path)).sentences())
    assert [sentence.words for sentence in found] == sentences
    expected = [["B-X" if repeat or not i else "I-X" for i, _ in enumerate(s)] for s in sentences]
    assert [sentence.ner for sentence in found] == expected


@pytest.mark.parametrize("write", ["to_json", "to_parquet"])
@pytest.mark.parametrize("blank", [None, float("nan")])
def test_a_table_in_other_formats(tmp_path, nlp, write, blank):
    rows = {
        "sentence_id": [1.0, blank, 2.0, blank],
        "document_id": [7, 7, 8, 8],
        "word": ["Ada", "left", "It", "rained"],
        "tag": ["B-PER", "O", "O", "O"],
    }
    path = str(tmp_path / f"x.{write[3:]}")
    getattr(Dataset.from_dict(rows), write)(path)
    reader = open_corpus(path)
    assert [sentence.words for sentence in reader.sentences()] == [
        ["Ada", "left"],
        ["It", "rained"],
    ]
    assert [sentence.document for sentence in reader.sentences()] == [7, 8]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,Ada,O", "2,left,O", "1,Turin,B-LOC"], r"row 2: the sentence '?1'? in 'sentence_id'"),
        (["1,New York,B-LOC I-LOC", "1,fell,O", "1,.,O"], "row 0: 1 tokens but 2 tags: fix the"),
        (['1,"New\nYork",B-LOC', "1,fell,O"], "row 0: 'word' holds a token of several lines"),
        (["1,Ada,O", "1,,O"], "row 1: 0 tokens but 1 tags: fix the row"),
    ],
)
def test_a_table_with_a_mistake(tmp_path, nlp, lines, message):
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["sentence_id,word,tag", *lines]))
    with pytest.raises(CorpusError, match=message):
        list(open_corpus(str(path))(nlp))


def test_numbers_that_start_again_in_each_document(tmp_path):
    path = tmp_path / "x.csv"
    lines = ["document_id,sent_id,word,tag", "a,1,Ada,B-PER", "a,1,left,O", "b,1,It,O", "b,2,No,O"]
    path.write_text("\n".join(lines))
    words = [sentence.words for sentence in open_corpus(str(path)).sentences()]
    assert words == [["Ada", "left"], ["It"], ["No"]]


def test_a_row_with_several_tokens_is_a_sentence(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("sent_id,tokens,tags\n1,Ada left,B-PER O\n1,It rained,O O\n2,Yes,O\n")
    words = [sentence.words for sentence in open_corpus(str(path)).sentences()]
    assert words == [["Ada", "left"], ["It", "rained"], ["Yes"]]


def test_the_weight_of_a_sentence_is_in_all_its_rows(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("sent_id,word,tag,w\n1,Ada,B-PER,2\n1,left,O,2\n2,It,O,1\n2,rained,O,0.5\n")
    sentences = HFCorpus("csv", data_files=str(path), weight_column="w").sentences()
    assert next(sentences).weight == 2.0
    with pytest.raises(CorpusError, match=r"row 3: another weight .*, row 2"):
        next(sentences)


def test_a_column_of_texts_named_sentence_is_no_number(tmp_path, nlp):
    path = tmp_path / "x.csv"
    path.write_text("sentence,tokens,tags\nIt left,It left,O O\nIt left,It left,O O\n")
    assert len(list(open_corpus(str(path))(nlp))) == 2


def test_settings_for_csv_files_are_errors_elsewhere(tmp_path, nlp):
    path = write_rows(tmp_path / "x.jsonl", {"tokens": ["Ada"], "ner_tags": ["B-PER"]})
    with pytest.raises(CorpusError, match="HFCorpus, which has no setting `encoding`"):
        open_corpus(path, encoding="latin-1")
    assert settings_for(path, {"encoding": "latin-1", "scheme": "io"}) == {"scheme": "io"}
    table = write(tmp_path / "x.csv", "tokens,tags\nAda,B-PER\n")
    assert settings_for(table, {"encoding": "latin-1"}) == {"encoding": "latin-1"}
    with pytest.raises(CorpusError, match="encoding and separator are settings for CSV files"):
        list(HFCorpus("json", data_files=path, separator=";")(nlp))


def test_another_separator_is_an_error_that_names_it(tmp_path, nlp):
    path = write(tmp_path / "x.csv", "tokens;tags\nAda;B-PER\n")
    with pytest.raises(CorpusError, match=r"'tokens;tags': set separator, which .* to be ';'"):
        next(iter(open_corpus(str(path))(nlp)))


def test_an_encoding_that_does_not_fit_names_the_setting(tmp_path, nlp):
    path = tmp_path / "x.csv"
    path.write_bytes("tokens,tags\nCafé,B-ORG\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"x\.csv:2: .*: set encoding"):
        list(open_corpus(str(path))(nlp))


def test_a_saved_split_without_rows(tmp_path, nlp):
    rows = Dataset.from_dict({"tokens": [["Ada"]], "ner_tags": [["B-PER"]]})
    splits = datasets.DatasetDict(train=rows, validation=rows.select([]))
    splits.save_to_disk(tmp_path / "saved")
    assert corpus_splits(str(tmp_path / "saved")) == ["train", "validation"]
    assert len(list(open_corpus(str(tmp_path / "saved"), split="train")(nlp))) == 1
    # Old versions of `datasets` load a split without rows, newer ones fail.
    with pytest.raises(
        CorpusError, match=r"saved.*validation\W+(it has no rows, or one|no sentence has tok)"
    ):
        list(open_corpus(str(tmp_path / "saved"), split="validation")(nlp))


@pytest.mark.parametrize("state", ["{}", "{", "[]"])
def test_a_saved_dataset_with_a_damaged_state(tmp_path, nlp, state):
    rows = Dataset.from_dict({"tokens": [["Ada"]], "ner_tags": [["B-PER"]]})
    rows.save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text(state)
    path = str(tmp_path / "saved")
    for read in (lambda: open_corpus(path)(nlp), lambda: AnyCorpus("unused", instead=path)(nlp)):
        with pytest.raises(CorpusError, match="saved: "):
            list(read())


@pytest.mark.parametrize("listing", ["{}", "{", "[]"])
def test_a_saved_dataset_with_a_damaged_list_of_splits(tmp_path, nlp, listing):
    rows = Dataset.from_dict({"tokens": [["Ada"]], "ner_tags": [["B-PER"]]})
    DatasetDict(train=rows).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "dataset_dict.json").write_text(listing)
    path = str(tmp_path / "saved")
    for read in (lambda: corpus_splits(path), lambda: open_corpus(path, split="train")(nlp)):
        with pytest.raises(CorpusError, match=r"dataset_dict\.json is damaged .*: save the data"):
            list(read())
