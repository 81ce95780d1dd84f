"""Corpus.v1: any data format for the paths of any shipped config; options of the commands."""

import json
import subprocess
import sys
from pathlib import Path
from threading import Event

import datasets
import pytest
import spacy
from datasets import Dataset, DatasetDict
from samples import ROOT
from spacy import util
from spacy.tokens import Doc, DocBin
from spacy.util import registry
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.corpus.corpus import AnyCorpus, ConllCorpus, HFCorpus, default_split, open_corpus
from bigru_tagger.corpus.hub import load_split
from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.corpus.sources import DatasetSource
from bigru_tagger.scoring.loading import read_gold

CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))
WORDS, TAGS = ["Ortrun", "left", "Linz"], ["B-PER", "O", "B-LOC"]


@pytest.fixture(autouse=True)
def _separate_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def make_spacy(path: Path, words: list[str]) -> str:
    doc = Doc(spacy.blank("en").vocab, words=words, ents=TAGS[: len(words)])
    DocBin(docs=[doc]).to_disk(path.with_suffix(".spacy"))
    return str(path.with_suffix(".spacy"))


def make_columns(path: Path, words: list[str]) -> str:
    lines = [f"{word} {tag}\n" for word, tag in zip(words, TAGS, strict=False)]
    path.with_suffix(".conll").write_text("".join(lines))
    return str(path.with_suffix(".conll"))


def make_rows(path: Path, words: list[str]) -> str:
    row = {"tokens": words, "ner_tags": TAGS[: len(words)]}
    path.with_suffix(".jsonl").write_text(json.dumps(row) + "\n")
    return str(path.with_suffix(".jsonl"))


def make_offsets(path: Path, words: list[str]) -> str:
    row = {"text": " ".join(words), "entities": [[0, len(words[0]), "PER"]]}
    path.with_suffix(".json").write_text(json.dumps([row]))
    return str(path.with_suffix(".json"))


def make_parquet(path: Path, words: list[str]) -> str:
    rows = Dataset.from_dict({"tokens": [words], "ner_tags": [TAGS[: len(words)]]})
    rows.to_parquet(path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def make_saved(path: Path, words: list[str]) -> str:
    rows = Dataset.from_dict({"tokens": [words], "ner_tags": [TAGS[: len(words)]]}, split="test")
    rows.save_to_disk(path)
    return str(path)


MAKERS = [make_spacy, make_columns, make_rows, make_offsets, make_parquet, make_saved]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_any_config_reads_the_users_data(config, make, tmp_path):
    """The names of the files do not matter for `instead`."""
    train, dev = make(tmp_path / "one_test", WORDS), make(tmp_path / "two_train", WORDS[:2])
    overrides = {"paths.train": train, "paths.dev": dev}
    corpora = registry.resolve(
        util.load_config(config, overrides=overrides, interpolate=True)["corpora"]
    )
    for split, words in (("train", WORDS), ("dev", WORDS[:2])):
        [example] = corpora[split](spacy.blank("en"))
        assert [token.text for token in example.reference] == words
        assert example.reference.ents[0].label_ == "PER"


def test_splits_of_the_users_data(tmp_path):
    for name, words in (("x-Train", WORDS), ("x-dev", WORDS[:2])):
        make_columns(tmp_path / name, words)
    for split, words in (("train", WORDS), ("validation", WORDS[:2])):
        corpus = AnyCorpus("bigru_tagger/sample", split=split, instead=str(tmp_path))
        [example] = corpus(spacy.blank("en"))
        assert [token.text for token in example.reference] == words


def test_without_other_paths_the_sample_is_read():
    config = util.load_config(ROOT / "configs" / "sample.cfg", interpolate=True)
    corpora = registry.resolve(config["corpora"])
    assert [len(list(corpora[name](spacy.blank("en")))) for name in ("train", "dev")] == [616, 132]


def test_unknown_settings_of_the_chosen_reader(tmp_path):
    path = make_rows(tmp_path / "x", WORDS)
    with pytest.raises(
        CorpusError, match=r"x.jsonl is read by HFCorpus, which has no setting `columns`"
    ):
        list(AnyCorpus(path, columns=["tokens", "ner"])(spacy.blank("en")))
    path = make_spacy(tmp_path / "x", WORDS)
    with pytest.raises(
        CorpusError, match=r"x.spacy is read by SpacyCorpus, which has no setting `scheme`"
    ):
        list(AnyCorpus(path, scheme="IOB2", sentences_per_doc=3)(spacy.blank("en")))


def test_one_file_for_both_splits_is_reported(tmp_path, caplog):
    path = make_columns(tmp_path / "all", WORDS)
    assert len(list(AnyCorpus(path, split="validation")(spacy.blank("en")))) == 1
    assert "all.conll has no splits: all of it is read as 'validation'" in caplog.text
    with pytest.raises(CorpusError, match="its name contains train, but the split 'validation'"):
        list(
            AnyCorpus(make_columns(tmp_path / "train", WORDS), split="validation")(
                spacy.blank("en")
            )
        )


# --- the requested split


@pytest.mark.parametrize("make", [make_spacy, make_columns, make_rows, make_parquet])
def test_a_file_of_another_split(make, tmp_path):
    path = make(tmp_path / "my_Train", WORDS)
    with pytest.raises(
        CorpusError, match="its name contains train, but the split 'test' was requested"
    ):
        open_corpus(path, split="test")
    for split in ("train", None):
        assert len(list(open_corpus(path, split=split)(spacy.blank("en")))) == 1


def test_a_saved_dataset_has_one_split(tmp_path):
    rows = Dataset.from_dict({"tokens": [["a"]] * 10, "tags": [["O"]] * 10}, split="train")
    rows.to_parquet(tmp_path / "x.parquet")
    part = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "x.parquet"), split="train[:50%]"
    )
    for name, saved, n in (("whole", rows, 10), ("part", part, 5)):
        saved.save_to_disk(tmp_path / name)
        with pytest.raises(
            CorpusError, match=r"saved as the split 'train.*', but 'test' was requested"
        ):
            list(open_corpus(str(tmp_path / name), split="test")(spacy.blank("en")))
        assert len(list(HFCorpus(str(tmp_path / name))(spacy.blank("en")))) == n


@pytest.mark.parametrize(
    ("split", "n"), [("train", 10), ("train[:10%]", 1), ("train[2:5]", 3), ("train[-2:]", 2)]
)
def test_slices(split, n, tmp_path):
    rows = Dataset.from_dict({"tokens": [["a"]] * 10, "tags": [["O"]] * 10})
    DatasetDict(train=rows, dev=rows.select([0])).save_to_disk(tmp_path / "saved")
    rows.to_json(tmp_path / "train.jsonl")
    nlp = spacy.blank("en")
    for path in ("saved", "train.jsonl"):
        assert len(list(open_corpus(str(tmp_path / path), split=split)(nlp))) == n
    assert len(list(open_corpus(str(tmp_path / "saved"), split="validation")(nlp))) == 1
    columns = make_columns(tmp_path / "train", WORDS)
    with pytest.raises(CorpusError, match="slices such as"):
        open_corpus(columns, split="train[:3]")


def n_tokens(reader) -> list[int]:
    return [len(example.reference) for example in reader(spacy.blank("en"))]


@pytest.mark.parametrize("make", [make_spacy, make_columns])
def test_sets_of_a_folder(make, tmp_path):
    make(tmp_path / "trainset", WORDS)
    make(tmp_path / "testset", WORDS[:2])
    folder = str(tmp_path)
    assert default_split(folder) == "test"
    assert n_tokens(open_corpus(folder)) == n_tokens(open_corpus(folder, split="test")) == [2]
    assert n_tokens(AnyCorpus("x", split="train", instead=folder)) == [3]


@pytest.mark.parametrize("make", [make_spacy, make_columns])
def test_a_folder_without_the_split(make, tmp_path, caplog):
    folder = tmp_path / "plain"
    folder.mkdir()
    make(folder / "a", WORDS)
    make(folder / "b", WORDS[:2])
    with pytest.raises(CorpusError, match="plain: no file is named after a split, but 'test' was"):
        open_corpus(str(folder), split="test")
    assert default_split(str(folder)) is None
    assert n_tokens(open_corpus(str(folder))) == [3, 2]
    assert not caplog.text
    assert n_tokens(AnyCorpus("x", split="validation", instead=str(folder))) == [3, 2]
    assert "plain has no splits: all of it is read as 'validation'" in caplog.text
    other = folder.rename(tmp_path / "train-x")
    with pytest.raises(CorpusError, match="train-x: no file is named after a split, but 'test'"):
        open_corpus(str(other), split="test")
    other = other.rename(tmp_path / "train")
    assert n_tokens(open_corpus(str(other), split="train")) == [3, 2]


def test_the_split_of_a_pattern(tmp_path, caplog):
    for name, n in (("train", 3), ("dev", 2), ("test", 1)):
        make_columns(tmp_path / f"NER-de-{name}", WORDS[:n])
    pattern = str(tmp_path / "*.conll")
    assert n_tokens(open_corpus(pattern)) == [2, 1, 3]
    for reader in (open_corpus, ConllCorpus):
        assert n_tokens(reader(pattern, split="test")) == [1]
    assert n_tokens(AnyCorpus("x", split="validation", instead=pattern)) == [2]
    with pytest.raises(CorpusError, match=r"no file of the split 'x'"):
        open_corpus(pattern, split="x")
    make_columns(tmp_path / "other-train", WORDS[:2])
    assert n_tokens(open_corpus(str(tmp_path / "*train.conll"), split="train")) == [3, 2]
    assert not caplog.text
    with pytest.raises(CorpusError, match="but the split 'test' was requested"):
        n_tokens(ConllCorpus(str(tmp_path / "NER-de-train.conll"), split="test"))
    assert n_tokens(AnyCorpus("x", split="test", instead=str(tmp_path / "o*.conll"))) == [2]
    assert "has no splits: all of it is read as 'test'" in caplog.text


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda _: b"", lambda _: b"a O\n"])
def test_a_damaged_spacy_file_is_named(damage, tmp_path):
    for name in ("a", "b"):
        make_spacy(tmp_path / name, WORDS)
    file = tmp_path / "b.spacy"
    file.write_bytes(damage(file.read_bytes()))
    for path in (tmp_path, file):
        with pytest.raises(CorpusError, match=r"b.spacy: damaged, or not a DocBin file"):
            n_tokens(open_corpus(str(path)))
    assert n_tokens(open_corpus(str(tmp_path), limit=1)) == [3]


# --- options of the commands


def run(*arguments: object, fails: bool = False) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == (1 if fails else 0), result.output
    return result.output


@pytest.mark.parametrize(
    "options",
    [
        ["--columns", "tokens,_,ner"],
        ["--columns", "tokens _ ner"],
        ["--columns", "tokens", "--columns", "_", "--columns", "ner"],
    ],
)
def test_column_options(options, tmp_path):
    path = tmp_path / "x.conll"
    path.write_text("Linz;B-X;B-LOC\nis;O;O\n", encoding="utf-16")
    options = [*options, "--separator", ";", "--encoding", "utf-16"]
    run("convert", path, tmp_path / "out", *options)
    [doc] = DocBin().from_disk(tmp_path / "out" / "x.spacy").get_docs(spacy.blank("xx").vocab)
    assert [ent.label_ for ent in doc.ents] == ["LOC"]
    spacy.blank("en").to_disk(tmp_path / "model")
    message = run("evaluate", tmp_path / "model", path, fails=True)
    assert "set encoding" in message
    message = run("evaluate", tmp_path / "model", path, *options, fails=True)
    assert "entities" in message  # the data were read, but a blank pipeline has no predictions


def test_tag_names_option(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"words": ["Linz"], "mine": [1], "tags": ["O"]}))
    options = ["--ner-column", "mine", "--tag-names", "mine=O,S-LOC"]
    run("convert", path, tmp_path / "out", *options)
    [doc] = DocBin().from_disk(tmp_path / "out" / "x.spacy").get_docs(spacy.blank("xx").vocab)
    assert [ent.label_ for ent in doc.ents] == ["LOC"]
    message = run("convert", path, tmp_path / "out", "--columns", "tokens,ner", fails=True)
    assert "x.jsonl is read by HFCorpus, which has no setting --columns" in message


@pytest.mark.parametrize("reader", ["Corpus.v1", "ConllCorpus.v1"])
def test_evaluation_uses_the_reader_settings_of_the_dev_corpus(reader, tmp_path):
    nlp = spacy.blank("en")
    nlp.config["training"]["dev_corpus"] = "corpora.held.out"
    nlp.config["corpora"]["held"] = {
        "out": {
            "@readers": f"bigru_tagger.{reader}",
            "path": "elsewhere",
            "columns": ["tokens", "_", "ner"],
            "sentences_per_doc": 2,
            "given_sentences": False,
        }
    }
    path = tmp_path / "test.conll"
    path.write_text("Linz B-X B-LOC\n\nis O O\n")
    read = {"split": None, "n_sents": None, "spans_key": "chunks"}
    [example] = read_gold(nlp, str(path), **read)
    assert [ent.label_ for ent in example.reference.ents] == ["LOC"]
    assert not example.predicted.has_annotation("SENT_START")
    options = {"columns": ["tokens", "ner", "_"]}
    [example] = read_gold(nlp, str(path), options=options, **read)
    assert [ent.label_ for ent in example.reference.ents] == ["X"]
    rows = make_rows(tmp_path / "test", WORDS)  # HFCorpus has no setting columns
    assert len(list(read_gold(nlp, rows, **read))) == 1


# --- the hub and imports


def test_an_unreachable_hub_is_requested_once(monkeypatch):
    """Then only the cache is used: `huggingface_hub` would retry for 24 seconds."""
    constants = pytest.importorskip("huggingface_hub.constants")
    states = []

    def load(*_args, **_options):
        states.append((constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE))
        raise ConnectionError("Couldn't reach the Hub")

    never = Event()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("huggingface_hub.get_session", never.wait)
    monkeypatch.setattr("bigru_tagger.corpus.hub._HUB_SECONDS", 0.01)
    with pytest.raises(CorpusError, match=r"cannot load some/id: .*Check the spelling and the net"):
        load_split(DatasetSource("some/id"), "train", streaming=False)
    never.set()
    assert states == [(True, True)]
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


@pytest.mark.parametrize("path", ["a/b/c", "/nowhere/at/all", "nowhere.jsonl", "x/nowhere.conll"])
def test_invalid_hub_ids_are_not_requested(path):
    with pytest.raises(CorpusError, match="no such file"):
        list(HFCorpus(path)(spacy.blank("en")))


def test_readers_import_datasets_only_for_datasets(tmp_path):
    path = make_rows(tmp_path / "x", WORDS)
    code = (
        "import sys\n"
        "from bigru_tagger.corpus.corpus import open_corpus\n"
        f"assert [s.words for s in open_corpus({path!r}).sentences()] == [{WORDS!r}]\n"
        "sys.exit('datasets' in sys.modules or 'pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
