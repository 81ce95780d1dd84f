import logging
from pathlib import Path

import datasets
import pytest
import spacy
from datasets import Dataset, DatasetDict

import bigru_tagger
from bigru_tagger.corpus.corpus import HFCorpus
from bigru_tagger.corpus.hub import list_splits, load_split
from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.corpus.sources import SAMPLE, DatasetSource


@pytest.fixture
def saved(tmp_path):
    rows = Dataset.from_dict({"tokens": [["Ada"]], "tags": [["B-PER"]]})
    DatasetDict(train=rows, test=rows).save_to_disk(tmp_path / "saved")
    return DatasetSource(str(tmp_path / "saved"))


def raise_when_loading(monkeypatch, error):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)


def test_saved_splits(saved):
    assert list_splits(saved) == ["train", "test"]
    assert load_split(saved, "test", streaming=True)[0] == {"tokens": ["Ada"], "tags": ["B-PER"]}
    with pytest.raises(CorpusError, match="unknown split 'dev': choose one of train, test"):
        load_split(saved, "dev", streaming=False)


@pytest.mark.parametrize("streaming", [False, True])
def test_empty_file(tmp_path, monkeypatch, streaming):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "empty.jsonl").touch()
    source = DatasetSource("json", data_files=str(tmp_path / "empty.jsonl"))
    with pytest.raises(CorpusError, match=r"empty.jsonl: a data file is empty"):
        load_split(source, "train", streaming=streaming)


def test_stream_of_unknown_columns(monkeypatch):
    nlp = spacy.blank("en")
    rows = [{"tokens": ["Ada"], "tags": ["B-X"]}]

    def load(*_args, split, **_options):
        return datasets.IterableDataset.from_generator(lambda: iter(rows if split == "a" else []))

    monkeypatch.setattr(datasets, "load_dataset", load)
    [example] = HFCorpus("some/stream", split="a", streaming=True)(nlp)
    assert example.get_aligned_ner() == ["U-X"]
    with pytest.raises(CorpusError, match=r"some/stream \[b\]: no rows: choose another split"):
        list(HFCorpus("some/stream", split="b", streaming=True)(nlp))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("Couldn't reach the Hub"), r"Check the spelling and the network.*save_to"),
        (datasets.exceptions.DatasetNotFoundError("doesn't exist"), "Check the spelling"),
        (RuntimeError("Dataset scripts are no longer"), 'revision = "refs/convert/parquet"'),
        (ValueError("BuilderConfig 'x' not found."), "cannot load some/id: BuilderConfig 'x'"),
    ],
)
def test_loading_fails_with_advice(monkeypatch, error, message):
    raise_when_loading(monkeypatch, error)
    with pytest.raises(CorpusError, match=message) as raised:
        load_split(DatasetSource("some/id"), "train", streaming=False)
    assert raised.value.__cause__ is error


def test_keyboard_interrupt_is_not_converted(monkeypatch):
    raise_when_loading(monkeypatch, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        load_split(DatasetSource("some/id"), "train", streaming=False)


@pytest.mark.parametrize("streaming", [False, True])
def test_offline(monkeypatch, tmp_path, streaming):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=r"cannot load eriktks/conll2003: .*save_to_disk"):
        load_split(DatasetSource("conll2003"), "train", streaming=streaming)
    with pytest.raises(CorpusError, match=r"none of the builders .*json"):
        load_split(DatasetSource("jsno", data_files="x.json"), "train", streaming=streaming)
    with pytest.raises(CorpusError, match="cannot load some/id"):
        list_splits(DatasetSource("some/id"))


def test_builder_without_files_does_not_read_the_current_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match="the builder 'json' needs data_files"):
        load_split(DatasetSource("json"), "train", streaming=False)


@pytest.mark.parametrize(
    ("path", "hub_id"),
    [
        ("conll2003", "eriktks/conll2003"),
        ("eriktks/conll2003", "eriktks/conll2003"),
        ("wnut_17", "leondz/wnut_17"),
    ],
)
def test_ids_of_scripts_are_redirected_to_parquet(path, hub_id, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    source = DatasetSource(path)
    with caplog.at_level(logging.INFO, logger="bigru_tagger"):
        resolved = source.resolve()
    assert (resolved.path, resolved.revision) == (hub_id, "refs/convert/parquet")
    assert caplog.messages == [f"{path}: reading {hub_id} at refs/convert/parquet"]
    assert source._replace(revision="main").resolve().revision == "main"
    (tmp_path / path).mkdir(parents=True)
    assert source.resolve() == source


def test_sample_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (
        Path(DatasetSource(SAMPLE).resolve().path) == Path(bigru_tagger.__file__).parent / "sample"
    )


def test_progress_bars_are_restored(saved):
    assert not datasets.are_progress_bars_disabled()
    load_split(saved, "train", streaming=False)
    assert not datasets.are_progress_bars_disabled()
