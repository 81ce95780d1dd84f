"""`bigru-tagger train-with-trainer`, on the sample corpus."""

import re

import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import load_config
from spacy.vocab import Vocab
from transformers import EvalPrediction, TrainingArguments
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.huggingface.exchange import load_transformers
from bigru_tagger.huggingface.trainer import IGNORED, encode, make_trainer
from bigru_tagger.huggingface.word_tokenizer import decode_characters
from bigru_tagger.tasks import ENTITIES

SMALL = {
    "components.ner.model.hidden": 16,
    "components.ner.model.embed.characters": None,
    "corpora.train.sentences_per_doc": 2,
    "corpora.dev.limit": 20,
}


def run(*arguments, fails=False):
    command = ["train-with-trainer", *(str(argument) for argument in arguments)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == (1 if fails else 0), result.output
    return result.output


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    arguments = TrainingArguments(
        str(tmp_path_factory.mktemp("trainer")), report_to="none", use_cpu=True
    )
    return make_trainer(load_config("configs/sample.cfg", SMALL), arguments, limit=20)


def test_rows_have_the_content_of_the_corpus(trainer):
    rows = trainer.train_dataset
    assert len(rows) == 20
    assert set(rows.column_names) == {
        "input_ids",
        "attention_mask",
        "characters",
        "sentence_starts",
        "labels",
    }
    first = rows[0]
    words = decode_characters(np.array(first["characters"]))
    assert len(words) == len(first["labels"]) == len(first["input_ids"])
    assert sum(first["sentence_starts"]) == 2  # two sentences per Doc
    assert set(rows[0]["labels"]) <= set(range(len(trainer.model.config.id2label)))
    assert trainer.model.config.tags[0] == "O"
    assert trainer.model.network.spec.hidden == [16]


def test_outside_is_ignored_if_only_some_labels_are_annotated(trainer):
    gold = Doc(Vocab(), words=["Ada", "left"], ents=["B-PER", "O"])
    tags = trainer.model.config.label2id
    for labels, expected in ((None, tags["O"]), (["PER"], IGNORED)):
        if labels is not None:
            ENTITIES.set_annotated_labels(gold, labels)
        example = Example(Doc(gold.vocab, words=["Ada", "left"]), gold)
        (row,) = encode(trainer.processing_class, [example], tags)
        assert row["labels"] == [tags["B-PER"], expected]


def test_scores_are_seqevals(trainer):
    tags = trainer.model.config.tags
    begin, inside = tags.index("B-LOC"), tags.index("I-LOC")
    gold = np.array([[begin, inside, 0, begin], [begin, -100, -100, -100]])
    found = np.array([[begin, inside, 0, 0], [begin, begin, begin, begin]])
    logits = np.eye(len(tags))[found]
    scores = trainer.compute_metrics(EvalPrediction(predictions=logits, label_ids=gold))
    assert scores == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 0.8})


def test_a_run_writes_a_folder_that_spacy_can_load(tmp_path):
    overrides = [part for name, value in SMALL.items() for part in (f"--{name}", value)]
    overrides[overrides.index(None)] = "null"
    output = run("configs/sample.cfg", tmp_path, "--epochs", 1, "--limit", 40, "--", *overrides)
    assert re.search(r"precision +[\d.]+\nrecall +[\d.]+\nf1 +[\d.]+\nWritten to ", output)
    card = (tmp_path / "README.md").read_text(encoding="utf8")
    assert "Trained on `bigru_tagger/sample`" in card
    assert "On the development data: f1 " in card
    nlp = load_transformers(str(tmp_path))
    assert nlp.meta["performance"].keys() == {"ents_f", "ents_p", "ents_r"}
    assert nlp("Nobody lives in Vienna .").has_annotation("ENT_IOB")


def test_errors(tmp_path):
    assert "Error: " in run(tmp_path / "no.cfg", tmp_path, fails=True)
    message = run("configs/conll2003_multitask.cfg", tmp_path, fails=True)
    assert "must have exactly one component" in message
    tagger = ("--components.ner.factory", "bigru_tagger")
    message = run("configs/sample.cfg", tmp_path, "--", *tagger, fails=True)
    assert "'ner' must be a bigru_ner" in message
