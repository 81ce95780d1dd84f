"""The documented properties of the sample corpus, and the validity of its annotation."""

from collections import Counter
from itertools import pairwise

import pytest
from datasets import DatasetDict, load_dataset

from bigru_tagger.corpus.sources import SAMPLE, DatasetSource
from bigru_tagger.schemes import entity_spans

SPLITS = ("train", "validation", "test")
TAG_COLUMNS = ("pos_tags", "chunk_tags", "ner_tags")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> DatasetDict:
    path = DatasetSource(SAMPLE).resolve().path
    return load_dataset(path, cache_dir=str(tmp_path_factory.mktemp("cache")))


def names(sample: DatasetDict, column: str) -> list[str]:
    return sample["train"].features[column].feature.names


def test_it_has_the_columns_of_the_hub(sample: DatasetDict) -> None:
    assert SAMPLE == "bigru_tagger/sample"
    assert tuple(sample) == SPLITS
    columns = sample["train"].column_names
    assert [c for c in columns if c != "document_id"] == ["id", "tokens", *TAG_COLUMNS]
    kinds = ["PER", "ORG", "LOC", "MISC"]
    assert names(sample, "ner_tags") == ["O", *(f"{p}-{k}" for k in kinds for p in "BI")]


def test_it_has_enough_sentences_without_duplicates(sample: DatasetDict) -> None:
    sentences = [" ".join(row["tokens"]) for split in SPLITS for row in sample[split]]
    assert len(sentences) >= 700
    assert len(set(sentences)) == len(sentences)


def test_every_split_has_every_type(sample: DatasetDict) -> None:
    tags = names(sample, "ner_tags")
    for split in SPLITS:
        found = Counter(tags[tag][2:] for row in sample[split] for tag in row["ner_tags"])
        assert min(found[kind] for kind in ("PER", "ORG", "LOC", "MISC")) >= 30


def test_articles_are_whole_and_in_one_split(sample: DatasetDict) -> None:
    articles = [row["document_id"] for split in SPLITS for row in sample[split]]
    starts = 1 + sum(a != b for a, b in pairwise(articles))
    assert starts == len(set(articles))


@pytest.mark.parametrize("column", ["ner_tags", "chunk_tags"])
def test_its_spans_are_well_formed(sample: DatasetDict, column: str) -> None:
    tag_names = names(sample, column)
    for split in SPLITS:
        for row in sample[split]:
            tags = [tag_names[tag] for tag in row[column]]
            assert len(tags) == len(row["tokens"])
            for before, tag in pairwise(["O", *tags]):
                assert tag[:1] != "I" or before[2:] == tag[2:], row["tokens"]
            assert all(start < end for _, start, end in entity_spans(tags))
