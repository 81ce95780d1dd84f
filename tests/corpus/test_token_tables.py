"""Tables with one token per row."""

import json
from itertools import chain
from pathlib import Path

import datasets
import pytest
import spacy
from datasets import Dataset

from bigru_tagger.corpus.corpus import HFCorpus, open_corpus
from bigru_tagger.corpus.sentences import CorpusError

PARTS = [["Ada", "left", "Rome"], ["It", "rained"]]
TAGS = {
    "IOBES": [["S-PER", "O", "S-LOC"], ["O", "O"]],
    "IOBES, entities of two tokens": [["B-PER", "L-PER", "O"], ["O", "O"]],
    "lower case": [["b-per", "i-per", "O"], ["O", "O"]],
    "_": [["B_PER", "I_PER", "O"], ["O", "O"]],
    "without labels": [["B", "I", "O"], ["O", "O"]],
    "io": [["PER", "PER", "O"], ["O", "O"]],
    "of one token": [["B-PER", "O", "B-LOC"], ["O", "O"]],
}


@pytest.fixture(autouse=True)
def _separate_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf8")
    return str(path)


def words(path: str, **options):
    return [sentence.words for sentence in open_corpus(path, **options).sentences()]


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_tokens_without_sentences_are_an_error(tmp_path, tags, suffix):
    rows = {"word": [*chain(*PARTS)], "tag": [*chain(*tags)]}
    path = tmp_path / f"x.{suffix}"
    getattr(Dataset.from_dict(rows), "to_json" if suffix == "jsonl" else f"to_{suffix}")(path)
    with pytest.raises(CorpusError, match=r"row 0: each row holds one token, .*sentence_id"):
        words(str(path))


@pytest.mark.parametrize("empty", ["", ",", " , "])
def test_empty_rows_separate_sentences(tmp_path, empty):
    lines = ["Word,Tag", "Ada,B-PER", "left,O", "Rome,B-LOC", empty, empty, "It,O", "rained,O"]
    assert words(write(tmp_path / "x.csv", *lines, empty)) == PARTS


@pytest.mark.parametrize("row", [{"word": None, "tag": None}, {"word": "", "tag": ""}])
def test_empty_rows_in_json(tmp_path, row):
    tokens = [[{"word": word, "tag": "O"} for word in part] for part in PARTS]
    rows = [*tokens[0], row, *tokens[1]]
    assert words(write(tmp_path / "x.jsonl", *map(json.dumps, rows))) == PARTS


def test_an_empty_line_after_every_line_separates_nothing(tmp_path):
    path = write(tmp_path / "x.csv", "word,tag", "", "Ada,B-PER", "", "left,O", "", "It,O")
    with pytest.raises(CorpusError, match=r"x.csv:3, row 1: each row holds one token"):
        words(path)


def test_lists_of_one_token_are_sentences(tmp_path):
    rows = [{"tokens": [word], "ner_tags": ["O"]} for word in PARTS[0]]
    assert words(write(tmp_path / "x.jsonl", *map(json.dumps, rows))) == [
        ["Ada"],
        ["left"],
        ["Rome"],
    ]


@pytest.mark.parametrize(
    "name",
    ["Sentence", "sentences", "sentence_nr", "Sent-ID", "sid", "sentence no.", "sent"],
)
@pytest.mark.parametrize("repeat", [False, True])
def test_names_of_the_sentence_column(tmp_path, name, repeat):
    lines = [
        f"{number if repeat or not position else ''},{word},O"
        for number, part in enumerate(PARTS)
        for position, word in enumerate(part)
    ]
    assert words(write(tmp_path / "x.csv", f"{name},Word,Tag", *lines)) == PARTS


@pytest.mark.parametrize("name", ["document", "file", "docid", "Doc_ID", "filename", "doc"])
@pytest.mark.parametrize("repeat", [False, True])
def test_sentence_numbers_of_each_document(tmp_path, name, repeat):
    lines = [f"{name},sentence_id,word,tag", "a,0,Ada,B-PER", f"{'a' * repeat},0,left,O"]
    lines += ["b,0,It,O", f"{'b' * repeat},0,rained,O", "c,,No,O", f"{'c' * repeat},,one,O"]
    path = write(tmp_path / "x.csv", *lines)
    assert words(path) == [["Ada", "left"], ["It", "rained"], ["No", "one"]]
    documents = [sentence.document for sentence in open_corpus(path).sentences()]
    assert documents == ["a", "b", "c"]
    assert open_corpus(path).marks_documents


@pytest.mark.parametrize("name", ["token_id", "Token Index", "word_idx"])
def test_token_numbers_that_start_again(tmp_path, name):
    lines = [
        f"sentence_id,{name},word,tag",
        "0,1,Ada,B-PER",
        "0,2,left,O",
        "0,1,It,O",
        "0,2,fell,O",
    ]
    with pytest.raises(CorpusError, match=rf"row 2: '{name}' starts again at .*1.* document_id"):
        words(write(tmp_path / "x.csv", *lines))
    assert words(write(tmp_path / "y.csv", *lines[:3], "1,1,It,O")) == [["Ada", "left"], ["It"]]


@pytest.mark.parametrize("cell", ["3 1/2", "10\u00a0000", "[1]"])
def test_a_cell_is_a_token(tmp_path, cell):
    path = write(tmp_path / "x.csv", "sentence_id,word,tag", "1,Ada,B-PER", f"1,{cell},O", "1,x,O")
    assert words(path) == [["Ada", cell, "x"]]
    [example] = open_corpus(path)(spacy.blank("en"))
    assert [token.text for token in example.reference] == ["Ada", cell, "x"]


@pytest.mark.parametrize(
    "cells", [["007", "1e3"], ["12.50", "1_000"], ["True", "NA"], ["-0", "nan"]]
)
def test_cells_are_texts(tmp_path, cells):
    lines = ["sentence_id,word,tag", *(f"1,{cell},O" for cell in cells)]
    assert words(write(tmp_path / "x.csv", *lines)) == [cells]
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.csv", *lines)
    assert words(str(folder), split="train") == [cells]
    write(folder / "train.csv", *lines)
    assert words(str(folder), split="train") == [cells]


def test_files_of_a_pattern(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / f"{name}.csv", "sent_id,word,tag", f"{name},1,O", f"{name},2,O")
    reader = HFCorpus("csv", data_files=str(tmp_path / "*.csv"), split="train[:50%]")
    assert [sentence.words for sentence in reader.sentences()] == [["1", "2"]]


def test_a_missing_file_is_an_error(tmp_path):
    path = write(tmp_path / "a.csv", "tokens,tags", "Ada left,B-PER O")
    files = {"train": [path, str(tmp_path / "missing.csv")]}
    with pytest.raises(CorpusError, match=r"missing\.csv"):
        words("csv", split="train", data_files=files)


@pytest.mark.parametrize("suffix", ["tsv", "dat"])
def test_the_builder_decides_for_any_suffix(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", "tokens;tags", "Ada left;B-PER O")
    assert words("csv", split="train", data_files=path, separator=";") == [["Ada", "left"]]


@pytest.mark.parametrize(
    ("column", "value"), [("sentence_id", [1]), ("doc_id", {"a": 1})], ids=["list", "object"]
)
def test_places_that_are_no_values(tmp_path, column, value):
    place = {"sentence_id": 1, "doc_id": "a", column: value}
    rows = [{"tokens": word, "ner_tags": "O", **place} for word in ("Ada", "left")]
    path = write(tmp_path / "x.jsonl", *map(json.dumps, rows))
    with pytest.raises(CorpusError, match=r"row 0: .* do not name a document and a sentence"):
        words(path)


@pytest.mark.parametrize(
    ("cell", "word"),
    [('"', '"'), ('""""', '"'), ('"Ada', '"Ada'), ('"Ada"', "Ada"), ('"""Ada"""', '"Ada"')],
)
def test_quotation_marks_between_tabs(tmp_path, cell, word):
    lines = ["sentence_id\tword\ttag", f"1\t{cell}\tO", "1\tis\tO", f"1\t{cell}\tO"]
    assert words(write(tmp_path / "x.csv", *lines), separator="\t") == [[word, "is", word]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['1,",O', "1,is,O"], r'x.csv:2: not valid CSV .* the token " is written as """"'),
        (
            ['1,",O', "1,is,O", '1,",O', "1,x,O"],
            "x.csv:2, row 0: 'word' holds a token of several lines",
        ),
        (['1,"a"b,O', "1,is,O"], "x.csv:2: not valid CSV"),
        (["1,Ada,O", "", "1,left"], "x.csv:4, row 2: 2 cells instead of 3"),
        (["1,Ada,O", "1,,,O"], "x.csv:3, row 1: 4 cells instead of 3"),
    ],
)
def test_damaged_csv(tmp_path, lines, message):
    with pytest.raises(CorpusError, match=message):
        words(write(tmp_path / "x.csv", "sentence_id,word,tag", *lines))


def test_the_header(tmp_path):
    lines = ["", ",sent_id,word,tag", "0,1,Ada,O", "1,1,left,O"]  # pandas writes an index
    assert words(write(tmp_path / "x.csv", *lines)) == [["Ada", "left"]]
    with pytest.raises(CorpusError, match=r"y.csv:1: two columns are named 'tag'"):
        words(write(tmp_path / "y.csv", "word,tag,tag", "Ada,O,O"))
    with pytest.raises(CorpusError, match=r"separator '::': .*: set it to one character"):
        words(write(tmp_path / "z.csv", "word::tag", "Ada::O"), separator="::")


ROW = {"tokens": ["Ada", "left"], "ner_tags": ["B-PER", "O"]}


@pytest.mark.parametrize(
    "content",
    [
        {"train": [ROW], "test": [ROW]},
        {"version": "1.0", "data": [ROW, ROW]},
        {"tokens": [["Ada"], ["It"]], "ner_tags": [["B-PER"], ["O"]]},
        {"tokens": {"0": ["Ada"]}, "ner_tags": {"0": ["B-PER"]}},  # pandas
        {"word": {"0": "Ada", "1": "left"}, "tag": {"0": "B-PER", "1": "O"}},
        {"text": ["Ada left"], "entities": [[[0, 3, "PER"]]]},
        # spaCy 2, LightTag, UBIAI, Labelbox
        [{"id": 0, "paragraphs": [{"raw": "Ada", "sentences": []}]}],
        {"examples": [{"content": "Ada", "annotations": []}]},
        [{"document": "Ada", "tokens": [{"text": "Ada", "start": 0, "end": 3}]}],
        [{"data_row": {"row_data": "Ada"}, "projects": {"x": {"labels": []}}}],
    ],
)
def test_json_that_is_no_list_of_rows(tmp_path, content):
    path = write(tmp_path / "x.json", json.dumps(content))
    with pytest.raises(CorpusError, match=r"no column of tokens, but .* must be a list of rows"):
        list(open_corpus(path)(spacy.blank("en")))


def test_a_text_with_tags(tmp_path):
    path = write(tmp_path / "x.jsonl", json.dumps({"text": "Ada lived", "labels": ["B-PER", "O"]}))
    with pytest.raises(CorpusError, match=r"column 'text': .*; if .* set tokens_column to 'text'"):
        list(open_corpus(path)(spacy.blank("en")))
    assert words(path, tokens_column="text") == [["Ada", "lived"]]
    path = write(tmp_path / "x.csv", "sid,text,label", "1,Ada,B-PER", "1,lived,O", "2,It,O")
    with pytest.raises(CorpusError, match=r"column 'text': .*; if .* set tokens_column to 'text'"):
        list(open_corpus(path)(spacy.blank("en")))
    assert words(path, tokens_column="text") == [["Ada", "lived"], ["It"]]


def test_a_row_with_several_tags_is_a_sentence(tmp_path):
    path = write(tmp_path / "x.csv", "tokens,tags", "Rome,B-LOC", "weather,O", "Ada left,B-PER O")
    assert words(path) == [["Rome"], ["weather"], ["Ada", "left"]]


def test_numbered_sentences_with_several_tokens_per_row(tmp_path):
    rows = ["1,Ada left,B-PER O", "2,Rome,B-LOC", "3,weather,O", "4,rain,O"]
    path = write(tmp_path / "x.csv", "sentence_id,tokens,tags", *rows)
    assert words(path) == [["Ada", "left"], ["Rome"], ["weather"], ["rain"]]


def test_numbers_of_words_that_do_not_count(tmp_path):
    path = write(
        tmp_path / "x.csv", "sentence_id,word_id,word,tag", "1,5,the,O", "1,7,cat,O", "1,5,the,O"
    )
    assert words(path) == [["the", "cat", "the"]]


def test_long_cells(tmp_path):
    path = write(tmp_path / "x.csv", "tokens,tags,note", f"Ada left,B-PER O,{'x' * 200_000}")
    assert words(path) == [["Ada", "left"]]
