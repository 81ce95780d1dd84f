"""Training that continues another, with new labels."""

import json

import pytest
import spacy
from datasets import Dataset
from samples import SENTENCES, TEXTS
from spacy.tokens import DocBin

import bigru_tagger
from bigru_tagger.recipes.continuing import continue_from
from bigru_tagger.recipes.data import prepare_data
from bigru_tagger.recipes.text import describe_plan


@pytest.fixture
def old(ner, tmp_path):
    """A pipeline that finds the entities of `SENTENCES`."""
    ner.to_disk(tmp_path / "old")
    return tmp_path / "old"


@pytest.fixture
def ships(tmp_path):
    """Data that annotate only ships, and not the cities and persons in the same sentences."""
    texts = [
        ("Ships leave New York City daily .", [[0, 5, "SHIP"]]),
        ("Ada Lovelace wrote to Babbage from London .", []),
        ("Ships leave London daily .", [[0, 5, "SHIP"]]),
        ("Nothing happened yesterday .", []),
    ]
    rows = [{"text": text, "label": label} for text, label in texts]
    path = tmp_path / "ships.jsonl"
    path.write_text("\n".join(map(json.dumps, rows * 3)), encoding="utf8")
    return path


def found(nlp, text):
    return [(ent.text, ent.label_) for ent in nlp(text).ents]


def test_the_start_predicts_as_the_old_pipeline(old, ships, tmp_path):
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev_share=0.25)
    start = spacy.load(continue_from(str(old), data, tmp_path).start)
    assert start.get_pipe("bigru_ner").labels == ("LOC", "ORG", "PER", "SHIP")
    before = spacy.load(old)
    for text in TEXTS:
        assert found(start, text) == found(before, text)


def test_words_outside_the_new_entities_learn_the_old_labels(old, ships, tmp_path):
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev_share=0.25)
    continued = continue_from(str(old), data, tmp_path)
    outputs = Dataset.load_from_disk(str(continued.outputs))
    tags = outputs.features["teacher_tags"].feature.feature.names
    row = next(row for row in outputs if row["tokens"][:2] == ["Ships", "leave"])
    assert row["ner_tags"] == ["B-SHIP"] + [""] * (len(row["tokens"]) - 1)
    city = row["tokens"].index("York" if "York" in row["tokens"] else "London")
    best = tags[row["teacher_tags"][city][0]]
    assert best.endswith("-LOC")
    ship = {i for i, tag in enumerate(tags) if tag.endswith("-SHIP")}
    for names, probabilities in zip(row["teacher_tags"], row["teacher_probabilities"], strict=True):
        assert all(p == 0.0 for i, p in zip(names, probabilities, strict=True) if i in ship)


def test_the_old_entities_of_the_development_data(old, ships, tmp_path):
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev=ships)
    continued = continue_from(str(old), data, tmp_path)
    assert continued.annotated == ["SHIP"]
    assert continued.old.labels == ["LOC", "PER"]
    docs = DocBin().from_disk(continued.old.file).get_docs(spacy.blank("en").vocab)
    entities = {doc.text.strip(): [(e.text, e.label_) for e in doc.ents] for doc in docs}
    assert entities["Ships leave New York City daily ."] == [("New York City", "LOC")]


def test_the_old_labels_are_kept(old, ships, tmp_path):
    result = bigru_tagger.train(
        ships,
        tmp_path / "new",
        start=str(old),
        dev=ships,
        overrides={"training.max_steps": 200, "training.dropout": 0.1},
    )
    scores = {
        name: {label: counts.gold for label, counts in run.scores["entities"].default.items()}
        for name, run in result.evaluations.items()
    }
    assert "vectors and vocabulary of the old pipeline" in describe_plan(result.plan)
    # Of 12 sentences, 6 have a ship. The old pipeline finds a city in 9 and two persons in 3.
    assert scores == {"dev": {"SHIP": 6}, "old labels": {"LOC": 9, "PER": 6}}
    assert found(result.nlp, "Ships leave New York City daily .") == [
        ("Ships", "SHIP"),
        ("New York City", "LOC"),
    ]
    assert found(result.nlp, "Ada Lovelace wrote to Babbage from London .") == [
        ("Ada Lovelace", "PER"),
        ("Babbage", "PER"),
        ("London", "LOC"),
    ]


def test_data_with_all_labels_need_no_teacher(old, tmp_path):
    rows = [
        {"tokens": text.split(), "ner_tags": iob2(text, ents)} for text, ents, *_ in SENTENCES * 2
    ]
    data = prepare_data(Dataset.from_list(rows), tmp_path / "corpus", lang="en", dev_share=0.25)
    assert continue_from(str(old), data, tmp_path).outputs is None


def iob2(text, ents):
    tags = ["O"] * len(text.split())
    for start, end, label in ents:
        tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return tags


def test_a_pipeline_without_the_component(ships, tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev_share=0.25)
    with pytest.raises(ValueError, match="no bigru_ner to continue with: it has no components"):
        continue_from(str(tmp_path / "blank"), data, tmp_path)
