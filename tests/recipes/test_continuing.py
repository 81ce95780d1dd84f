"""Training that continues another, with new labels."""

import json
import pickle

import numpy as np
import pytest
import spacy
from datasets import Dataset
from samples import SENTENCES, TEXTS
from spacy.tokenizer import Tokenizer
from spacy.tokens import DocBin

import bigru_tagger
from bigru_tagger.model.thinc_model import network_shim
from bigru_tagger.pipeline.spans import bias_for_count
from bigru_tagger.recipes.continuing import continue_from, step_back
from bigru_tagger.recipes.data import prepare_data
from bigru_tagger.recipes.text import describe_plan, describe_training
from bigru_tagger.recipes.training import plan_training
from bigru_tagger.runtime.network import blend


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


@pytest.fixture
def continued(old, ships, tmp_path):
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev_share=0.25)
    return continue_from(spacy.load(old), data, tmp_path, teacher="old")


def found(nlp, text):
    return [(ent.text, ent.label_) for ent in nlp(text).ents]


def test_the_start_predicts_as_the_old_pipeline(old, continued):
    start = spacy.load(continued.start)
    assert start.get_pipe("bigru_ner").labels == ("LOC", "ORG", "PER", "SHIP")
    before = spacy.load(old)
    for text in TEXTS:
        assert found(start, text) == found(before, text)


def test_words_outside_the_new_entities_learn_the_old_labels(continued):
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


def test_the_old_logits_are_learned_without_the_settings_that_are_kept(old, ships, tmp_path):
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev=ships)
    outputs = []
    for name, settings in (("plain", {}), ("tuned", {"recall_bias": 3.0, "temperature": 5.0})):
        nlp = spacy.load(old)
        nlp.get_pipe("bigru_ner").cfg.update(settings)
        continued = continue_from(nlp, data, tmp_path / name, teacher=name)
        rows = Dataset.load_from_disk(str(continued.outputs))["teacher_probabilities"]
        outputs.append([values for row in rows for values in row])
        kept = spacy.load(continued.start).get_pipe("bigru_ner").cfg
        assert {key: kept[key] for key in settings} == settings
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_the_tokenizer_of_the_old_pipeline_is_used(ner, tmp_path):
    nlp = pickle.loads(pickle.dumps(ner))
    nlp.tokenizer = Tokenizer(nlp.vocab)  # splits at white space only
    nlp.to_disk(tmp_path / "old")
    rows = [{"text": "Ships, leave.", "entities": [[0, 6, "SHIP"]]}] * 4
    file = tmp_path / "new.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    overrides = {"training.max_steps": 2}
    plan = plan_training(
        str(file), tmp_path / "new", dev=str(file), start=str(tmp_path / "old"), overrides=overrides
    )
    docs = DocBin().from_disk(plan.data.files["train"]).get_docs(nlp.vocab)
    assert {tuple(token.text for token in doc) for doc in docs} == {("Ships,", "leave.")}


def test_the_old_entities_of_the_development_data(old, ships, tmp_path):
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev=ships)
    continued = continue_from(spacy.load(old), data, tmp_path, teacher="old")
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
    assert f"{result.share:.0%} of the way" in describe_training(result)
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
    assert continue_from(spacy.load(old), data, tmp_path, teacher="old").outputs is None


def test_the_spans_of_both_trainings_are_counted(ner, ships, tmp_path):
    nlp = pickle.loads(pickle.dumps(ner))
    nlp.get_pipe("bigru_ner").cfg.update(n_spans=91, recall_bias=bias_for_count(91))
    nlp.to_disk(tmp_path / "old")
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev_share=0.25)
    n_new = sum(
        len(doc.ents) for doc in DocBin().from_disk(data.files["train"]).get_docs(nlp.vocab)
    )
    assert n_new
    start = spacy.load(continue_from(nlp, data, tmp_path, teacher="old").start)
    assert start.get_pipe("bigru_ner").cfg["n_spans"] == 91 + n_new
    assert start.get_pipe("bigru_ner").cfg["recall_bias"] == bias_for_count(91 + n_new)


def iob2(text, ents):
    tags = ["O"] * len(text.split())
    for start, end, label in ents:
        tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return tags


def test_a_pipeline_without_the_component(ships, tmp_path):
    data = prepare_data(ships, tmp_path / "corpus", lang="en", dev_share=0.25)
    with pytest.raises(ValueError, match="no bigru_ner to continue with: it has no components"):
        continue_from(spacy.blank("en"), data, tmp_path, teacher="old")


def test_blended_weights():
    old = {"a": np.float32([0, 2]), "n": np.array([3]), "linear.bias": np.float32([0, 0, 0])}
    new = {"a": np.float32([4, 4]), "n": np.array([5]), "linear.bias": np.float32([8, 4, 6])}
    mixed = blend(old, new, 0.25, n_tags=2)  # the third tag was added
    assert {name: array.tolist() for name, array in mixed.items()} == {
        "a": [1.0, 2.5],
        "n": [5],
        "linear.bias": [2.0, 1.0, 6.0],
    }
    assert mixed["a"].dtype == np.float32
    assert all((blend(old, new, 1.0, 2)[name] == array).all() for name, array in new.items())


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ([0.3, 0.57, 0.6, 0.6], 0.75),  # 0.57 is more than 0.02 below
        ([0.3, 0.585, 0.6, 0.58], 0.5),
        ([0.8, 0.7, 0.7, 0.7], 0.25),
        ([0.1, 0.2, 0.3, 0.4], 1.0),
    ],
)
def test_the_smallest_step_that_costs_little(scores, share, continued, monkeypatch):
    nlp = spacy.load(continued.start)
    shim = network_shim(nlp.get_pipe("bigru_ner").model)
    start = shim.arrays
    shim.set_arrays({n: a + np.float32(1) if a.dtype == "float32" else a for n, a in start.items()})
    left = iter(scores)
    monkeypatch.setattr(nlp, "evaluate", lambda examples: {"ents_f": next(left), "ents_p": 1.0})
    # As with another component in the pipeline, which has no scores here.
    weights = {"ents_f": 0.25, "ents_p": 0.0, "ents_r": None, "dep_uas": 0.75}
    nlp.config["training"]["score_weights"] = weights
    assert step_back(nlp, continued, lambda nlp: []) == share
    bias = start["linear.bias"] + share
    bias[13:] += 1.0 - share  # O and four tags for each of three old labels
    np.testing.assert_allclose(shim.arrays["linear.bias"], bias, rtol=1e-6)
    name = "encoder.layers.0.forward_layer.bias_hh_l0"
    np.testing.assert_allclose(shim.arrays[name], start[name] + share, rtol=1e-6)
