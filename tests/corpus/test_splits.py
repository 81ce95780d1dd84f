"""Splits by file names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.corpus.splits import (
    base_split,
    canonical_split,
    check_split,
    choose_files,
    named_splits,
    split_names,
)


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("NER-de-test.tsv", {"test"}),
        ("wnut_test.conll", {"test"}),
        ("Test.txt", {"test"}),
        ("TEST.TXT", {"test"}),
        ("my_test.spacy", {"test"}),
        ("eng.testb", {"test"}),
        ("eng.testa", {"validation"}),
        ("eng.test.txt", {"test"}),
        ("NERTest.conll", {"test"}),
        ("wnut17train.conll", {"train"}),
        ("train2.jsonl", {"train"}),
        ("train-00000-of-00002.parquet", {"train"}),
        ("emerging.dev.conll", {"validation"}),
        ("devel.tsv", {"validation"}),
        ("train_dev.tsv", {"train", "validation"}),
        ("trainset.conll", {"train"}),
        ("my_TestData.tsv", {"test"}),
        ("devset1.spacy", {"validation"}),
        ("dataset.conll", set()),
        ("contestdata.conll", set()),
        ("latest.conll", set()),
        ("contest.conll", set()),
        ("invalid.conll", set()),
        ("constraint.conll", set()),
        ("developer.txt", set()),
        ("data.jsonl", set()),
    ],
)
def test_words_of_a_name(name, splits):
    assert named_splits(name) == splits


@given(
    before=st.sampled_from(["", "NER-de-", "my_", "a.b.", "17", "x "]),
    word=st.sampled_from(["train", "Train", "TRAIN", "dev", "Valid", "test", "TEST", "testb"]),
    after=st.sampled_from(["", "-00000-of-00001", "_2", ".v1", " copy"]),
    ending=st.sampled_from([".conll", ".tsv", ".jsonl", ".spacy", ".parquet", ""]),
)
def test_a_split_is_found_anywhere_in_a_name(before, word, after, ending):
    name = f"{before}{word}{after}{ending}"
    expected = canonical_split(word)
    assert named_splits(name) == {expected}
    for split in ("train", "validation", "test"):
        if split == expected:
            check_split(name, f"{split}[:10%]")
        else:
            with pytest.raises(CorpusError, match="its name contains"):
                check_split(name, split)


@pytest.mark.parametrize(
    ("path", "split", "folder"),
    [
        ("data/train/x.conll", "test", "train"),
        ("data/dev/x.conll", "train[:5]", "dev"),
        ("data/testb/x.conll", "dev", "testb"),
        ("data/train/x.conll", "train", None),
        ("data/dev/x.conll", "validation", None),
        ("data/test/train.conll", "train", None),  # its own name decides
        ("test/data/x.conll", "train", None),  # not its folder
        ("data/tests/x.conll", "train", None),
        ("data/test/x.conll", "unlabelled", None),
    ],
)
def test_a_folder_named_after_another_split_is_a_warning(caplog, path, split, folder):
    check_split(path, split)
    expected = f"{path}: read as the split {split!r}, but its folder is named {folder!r}"
    assert caplog.messages == ([expected] if folder else [])


@given(
    letters=st.text(st.characters(categories=["Ll"], max_codepoint=127), min_size=1, max_size=3),
    word=st.sampled_from(["train", "dev", "test"]),
)
def test_adjacent_letters_make_another_word(letters, word):
    assert named_splits(f"{letters}{word}.conll") in (set(), {canonical_split(letters + word)})


def test_slices():
    assert base_split("train[:10%]") == base_split("train[:5]+train[9:]") == "train"
    assert base_split("train+test") == "train+test"
    assert canonical_split("Dev[:3]") == "validation"
    assert canonical_split("Extra") == "extra"


def choose(folder: Path, names: list[str], split: str) -> list[str]:
    files = [folder / name for name in names]
    return [str(file.relative_to(folder)) for file in choose_files(folder, files, split)]


@pytest.mark.parametrize(
    ("names", "split", "chosen"),
    [
        (["NER-de-train.tsv", "NER-de-dev.tsv", "NER-de-test.tsv"], "test", ["NER-de-test.tsv"]),
        (["Train.txt", "Test.txt", "readme.txt"], "test[:3]", ["Test.txt"]),
        (["eng.train", "eng.testa", "eng.testb"], "validation", ["eng.testa"]),
        (["dev.conll", "valid.conll"], "dev", ["dev.conll"]),
        (["devel.tsv", "train.tsv", "train_dev.tsv"], "train", ["train.tsv"]),
        (["train.conll", "old/train.conll"], "train", ["train.conll"]),
        (
            ["train/a.conll", "train/b.conll", "test/a.conll"],
            "train",
            ["train/a.conll", "train/b.conll"],
        ),
        (["train_1.jsonl", "train_2.jsonl"], "train", ["train_1.jsonl", "train_2.jsonl"]),
        (["extra.conll", "train.conll"], "extra", ["extra.conll"]),
    ],
)
def test_files_of_a_split(tmp_path, names, split, chosen):
    assert choose(tmp_path, names, split) == chosen


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (["train.conll", "latest.conll"], "test", "no file of the split 'test': .*latest.conll"),
        (["train_dev.tsv"], "train", "no file of the split 'train': the files are train_dev.tsv"),
        (["esp.train", "ned.train"], "train", "several files .* esp.train, ned.train: use one"),
        (["wnut16_train.conll", "wnut17_train.conll"], "train", "several files"),
        (["train.conll", "train.txt"], "train", "several files"),
        (["a/train.conll", "b/train.conll"], "train", "several files"),
        (["dev.conll", "valid.conll"], "validation", "several files"),
        (
            ["a.conll", "b.conll"],
            "test",
            "no file is named after a split, but 'test' was requested.*b.c",
        ),
    ],
)
def test_errors_list_the_files(tmp_path, names, split, message):
    with pytest.raises(CorpusError, match=message):
        choose(tmp_path, names, split)


def test_splits_are_named_as_in_the_files(tmp_path):
    names = ["x.testb", "x.train", "x.testa", "latest.conll"]
    assert split_names(tmp_path, [tmp_path / name for name in names]) == ["train", "testa", "testb"]


def test_a_folder_named_after_a_split(tmp_path):
    folder = tmp_path / "Dev"
    assert choose(folder, ["a.conll", "b.conll"], "validation") == ["a.conll", "b.conll"]
    assert choose(folder, ["a.conll", "test.conll"], "test") == ["test.conll"]
    for other, split in (("Dev", "test"), ("train-x", "test"), ("train-x", "train")):
        with pytest.raises(CorpusError, match=f"{other}: no file is named after a split, but"):
            choose(tmp_path / other, ["a.conll"], split)


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        (
            ["train/a.conll", "train/b.conll", "test/a.conll"],
            "train",
            ["train/a.conll", "train/b.conll"],
        ),
        (
            ["train/train_1.conll", "train/train_2.conll"],
            "train",
            ["train/train_1.conll", "train/train_2.conll"],
        ),
        (["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"], "train", None),
        (["train-00001-of-00002.jsonl", "train-00002-of-00002.jsonl"], "train", None),  # from 1
        (["test/train_dev_test.conll"], "test", ["test/train_dev_test.conll"]),
    ],
)
def test_the_files_of_a_split(tmp_path, names, split, expected):
    files = [tmp_path / name for name in names]
    assert choose_files(tmp_path, files, split) == [tmp_path / n for n in expected or names]


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (
            ["train/lab_test_01.conll", "test/y.conll"],
            "test",
            "lab_test_01.conll: named after the split",
        ),
        (["train/dev.jsonl"], "train", "dev.jsonl: named after the split validation, but"),
        (["train.conll", "train_100.conll"], "train", "several files may be the split 'train'"),
        (["train2.jsonl", "train.jsonl"], "train", "several files may be the split 'train'"),
        (["test-00000-of-00003.jsonl", "test-00002-of-00003.jsonl"], "test", "2 of the 3 files"),
    ],
)
def test_files_that_may_belong_to_another_split(tmp_path, names, split, message):
    with pytest.raises(CorpusError, match=message):
        choose_files(tmp_path, [tmp_path / name for name in names], split)
