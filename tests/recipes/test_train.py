"""Training on annotated data without a config."""

import io
import json
from pathlib import Path

import pytest
import spacy
from datasets import Dataset, DatasetDict
from samples import SENTENCES, annotate
from spacy.cli.train import train as spacy_train
from spacy.tokens import Doc, DocBin
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from typer.testing import CliRunner

import bigru_tagger
from bigru_tagger.cli import app
from bigru_tagger.corpus.corpus import open_corpus
from bigru_tagger.recipes import training
from bigru_tagger.recipes.progress import ProgressLogger
from bigru_tagger.recipes.text import describe_training
from bigru_tagger.recipes.training import plan_training, steps_within
from bigru_tagger.scoring.loading import open_gold

SHORT = {"training.max_steps": 24}


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """Texts with offsets, in doccano's format."""
    path = tmp_path_factory.mktemp("data") / "notes.jsonl"
    rows = []
    for text, ents, *_ in SENTENCES:
        doc = annotate(Doc(spacy.blank("xx").vocab, words=text.split()), ents)
        rows.append(
            {"text": doc.text, "label": [[e.start_char, e.end_char, e.label_] for e in doc.ents]}
        )
    path.write_text("\n".join(map(json.dumps, rows * 5)), encoding="utf8")
    return path


@pytest.fixture(scope="module")
def output(notes, tmp_path_factory):
    """The folder and the printed text of a training by the command."""
    folder = tmp_path_factory.mktemp("output") / "notes"
    arguments = ["train", str(notes), "--output", str(folder), "--lang", "xx", "--dev-share", "0.2"]
    arguments += ["--", "--training.max_steps", "24"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder, result.output


def weights(folder):
    return (folder / "model-best" / "ner" / "model").read_bytes()


def test_the_command_says_what_it_found_and_chose(output):
    folder, text = output
    # 20 texts: a fifth is held out. A sentence without entities is among them.
    assert "16 Docs with" in text
    assert "4 (held out) for development" in text
    # 109 tokens are some 7 sentences, so 9 Docs are 4 of them. 24 · 9 / 16 = 13.5.
    assert "24 steps of 9 Docs, which are 13.5 passes over the data" in text
    assert "no word vectors" in text
    assert f"bigru-tagger tag {folder}/model-best" in text
    assert {path.name for path in folder.iterdir()} == {
        "corpus",
        "config.cfg",
        "model-best",
        "model-last",
    }
    assert "\r" not in text  # no progress bar


def test_the_pipeline_was_trained(output):
    nlp = spacy.load(output[0] / "model-best")
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER")
    doc = nlp("Ada Lovelace wrote to Babbage from London .")
    assert ("Ada Lovelace", "PER") in [(ent.text, ent.label_) for ent in doc.ents]


def test_spacy_train_gives_the_same_weights(output, tmp_path):
    spacy_train(output[0] / "config.cfg", tmp_path / "again")
    assert weights(tmp_path / "again") == weights(output[0])


def test_an_earlier_model_is_kept(output, notes):
    before = weights(output[0])
    result = CliRunner().invoke(app, ["train", str(notes), "--output", str(output[0])])
    assert result.exit_code == 1
    assert "model-best already exists: choose another output, or set --overwrite" in result.output
    assert weights(output[0]) == before


def test_a_dataset_of_the_library(tmp_path):
    tags = ["O", "B-LOC"]
    rows = {"tokens": [["in", "Oslo"], ["in", "Rome"]] * 4, "ner_tags": [tags] * 8}
    result = bigru_tagger.train(
        Dataset.from_dict(rows), tmp_path, lang="xx", dev_share=0.25, overrides=SHORT
    )
    assert result.evaluations["dev"].documents == 2
    assert [ent.text for ent in result.nlp("in Oslo").ents] == ["Oslo"]


def test_datasets_for_training_and_development(tmp_path):
    train, dev = (
        Dataset.from_dict({"tokens": [["in", city]] * 3, "ner_tags": [["O", "B-LOC"]] * 3})
        for city in ("Oslo", "Rome")
    )
    data = plan_training(train, tmp_path, dev=dev, lang="xx").data
    assert not data.held_out
    assert data.check.splits["dev"].documents == 3


def test_a_source_with_one_split_is_divided(tmp_path):
    (tmp_path / "dev.conll").write_text("in O\nOslo B-LOC\n\n" * 4, encoding="utf8")
    data = plan_training(tmp_path, tmp_path / "out", lang="xx", dev_share=0.25).data
    assert data.held_out
    assert [data.check.splits[name].documents for name in ("train", "dev")] == [3, 1]


def test_the_split_of_development_data(tmp_path):
    rows = [
        Dataset.from_dict({"tokens": [["in", "Rome"]] * n, "ner_tags": [["O", "B-LOC"]] * n})
        for n in (1, 2, 4)
    ]
    for names, n_docs in (
        (("train", "validation", "test"), 2),
        (("train", "dev", "test"), 2),
        (("extra", "validation", "test"), 2),  # none for training, which is not needed
        (("train", "extra", "test"), 1),
    ):
        dev = DatasetDict(zip(names, rows, strict=True))
        output = tmp_path / "-".join(names)
        data = plan_training(rows[2], output, dev=dev, lang="xx").data
        assert data.check.splits["dev"].documents == n_docs
    for name, split in (("source", "train"), ("dev", "validation or train")):
        sources = {"source": rows[2], name: DatasetDict(extra=rows[0], test=rows[1])}
        with pytest.raises(ValueError, match=rf"none of the splits extra, test is {split}: give"):
            plan_training(output=tmp_path / name, lang="xx", **sources)


def test_the_balance_of_precision_and_recall(notes, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Tuner, "balance", lambda self: 1.5)
    settings = {"lang": "xx", "dev_share": 0.2}
    result = bigru_tagger.train(notes, tmp_path / "chosen", overrides=SHORT, **settings)
    assert result.bias == 1.5
    assert "recall_bias was set to 1.5" in describe_training(result)
    assert spacy.load(result.plan.best).get_pipe("ner").cfg["recall_bias"] == 1.5

    given = {**SHORT, "components.ner.recall_bias": 1.0}
    result = bigru_tagger.train(notes, tmp_path / "given", overrides=given, **settings)
    assert result.bias is None
    assert result.nlp.get_pipe("ner").cfg["recall_bias"] == 1.0
    assert "recall_bias" not in describe_training(result)


def test_splits_of_the_data_are_used(tmp_path):
    for split, city in (("train", "Oslo"), ("dev", "Rome"), ("test", "Riga")):
        (tmp_path / f"{split}.conll").write_text(f"in O\n{city} B-LOC\n\n" * 3, encoding="utf8")
    plan = plan_training(tmp_path, tmp_path / "out", lang="xx")
    assert not plan.data.held_out
    words = {
        name: {
            token.text for doc in DocBin().from_disk(file).get_docs(plan_vocab()) for token in doc
        }
        for name, file in plan.data.files.items()
    }
    assert words == {"train": {"in", "Oslo"}, "dev": {"in", "Rome"}}


def plan_vocab():
    return spacy.blank("xx").vocab


def test_sentences_of_documents_stay_together(tmp_path):
    document = "-DOCSTART- O\n\nin O\nOslo B-LOC\n\nit O\nrained O\n\n"
    file = tmp_path / "columns.conll"
    file.write_text(document * 4, encoding="utf8")
    plan = plan_training(file, tmp_path / "out", lang="xx", dev_share=0.25)
    assert plan.data.sentences_per_doc == 0
    assert plan.data.counts.documents == 3
    assert plan.data.counts.sentences == 6
    # The reader of the config passes the sentence starts on.
    (example,) = open_corpus(str(plan.data.files["dev"]))(spacy.blank("xx"))
    assert [token.is_sent_start for token in example.predicted] == [True, False, True, False]
    # `evaluate` and others read Docs of other data as those of the training.
    nlp = init_nlp(load_config(plan.config))
    gold = open_gold(nlp, str(file), split=None, n_sents=None, spans_key="chunks")
    assert [len(list(example.reference.sents)) for example in gold(nlp)] == [2] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "tags"}, "no tags: it has entities"),
        ({"config": "nothing"}, "no config 'nothing': choose a file, or conll2003"),
        ({"config": "sample", "minutes": 1}, "use either"),
        ({"dev_share": 2.0}, "must be between 0 and 1"),
        ({"vectors": "nothing"}, "nothing"),
    ],
)
def test_wrong_settings(notes, tmp_path, settings, message):
    with pytest.raises((ValueError, OSError), match=message):
        bigru_tagger.train(notes, tmp_path, lang="xx", **settings)


def test_overlapping_entities_are_an_error(tmp_path):
    row = {"text": "New York City", "label": [[0, 8, "LOC"], [4, 13, "LOC"]]}
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([json.dumps(row)] * 4), encoding="utf8")
    with pytest.raises(ValueError, match="overlap"):
        plan_training(path, tmp_path / "out", lang="xx")


def test_steps_within_a_time():
    # 100 s, of which 20 for loading. 12 evaluations of 1 s are less than a fifth of 80 s.
    assert steps_within(100, load=10, step=0.5, evaluation=1) == (136, 12)
    # A fifth of 80 s is 16 s: 4 evaluations of 4 s.
    assert steps_within(100, load=10, step=0.5, evaluation=4) == (128, 4)
    with pytest.raises(ValueError, match=r"and two evaluations alone take 1\.4 minutes"):
        steps_within(60, load=30, step=1, evaluation=11)


def test_a_short_time_means_fewer_steps(notes, tmp_path, monkeypatch):
    usual = plan_training(notes, tmp_path, lang="xx").recipe
    monkeypatch.setattr(training, "_measure", lambda config: (1.0, 0.5, 1.0))
    short = plan_training(notes, tmp_path, lang="xx", minutes=0.5).recipe
    # 28 s are left: 5 evaluations, and 46 steps in 23 s.
    assert (short.steps, short.evaluations) == (46, 5)
    assert short.epochs == pytest.approx(usual.epochs * 46 / usual.steps)
    assert plan_training(notes, tmp_path, lang="xx", minutes=60).recipe == usual


def test_the_time_of_a_step_is_measured(notes, tmp_path):
    plan = plan_training(notes, tmp_path, lang="xx")
    load, step, evaluation = training._measure(load_config(plan.config))
    assert load > step > 0.0
    assert evaluation > 0.0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_progress_bar_shows_the_score():
    nlp = spacy.blank("xx")
    nlp.config["training"]["max_steps"] = 3
    stream = Terminal()
    log_step, finalize = ProgressLogger()(nlp, io.StringIO(), stream)
    log_step({"step": 0, "score": 0.25, "checkpoints": [(0.25, 0)]})
    log_step(None)
    log_step({"step": 2, "score": 0.125, "checkpoints": [(0.25, 0), (0.125, 2)]})
    finalize()
    last = stream.getvalue().split("\r")[-1]
    assert "2/3" in last
    assert "dev 12.5%, best 25.0%" in last


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lang", "zz"), "--lang = 'zz': spaCy has no such language"),
        (("--vectors", "no_such"), "--vectors = 'no_such': no such folder or installed pipeline"),
        (
            ("--", "--training.max_stepz", "3"),
            "the config has no setting training.max_stepz: those",
        ),
        (("--", "--no.such", "3"), "not a section value that can be overridden"),
    ],
)
def test_wrong_settings_are_errors_before_the_training(tmp_path, monkeypatch, options, message):
    data = tmp_path / "notes.conll"
    data.write_text("in O\nOslo B-LOC\n\n" * 9, encoding="utf8")
    monkeypatch.setattr(training, "run_training", None)
    command = ["train", str(data), "--output", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert message in result.output


def test_settings_of_the_config_belong_after_the_dashes():
    result = CliRunner().invoke(app, ["train", "notes.jsonl", "--training.max_steps", "3"])
    assert result.exit_code == 2
    words = " ".join(result.output.replace("│", " ").split())
    assert "--training.max_steps is a setting of the config: write such settings last" in words


@pytest.mark.parametrize(
    ("data", "name"),
    [("notes.jsonl", "notes"), (".", "here"), ("..", "data"), ("a/conll2003", "conll2003")],
)
def test_the_output_folder_is_named_after_the_data(tmp_path, monkeypatch, data, name):
    def plan(data, output, **settings):
        raise ValueError(f"the output is {output}")

    monkeypatch.setattr(training, "plan_training", plan)
    folder = tmp_path / "data" / "here"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["train", data])
    assert result.output == f"Error: the output is {Path('output', name)}\n"


@pytest.mark.parametrize("steps", [0, -1, "abc", 1.5, True])
def test_a_number_of_steps_that_is_none(notes, tmp_path, steps):
    with pytest.raises(ValueError, match=r"training\.max_steps = .* whole number of at least 1"):
        bigru_tagger.train(notes, tmp_path, lang="xx", overrides={"training.max_steps": steps})


def test_development_data_without_entities(notes, tmp_path):
    dev = tmp_path / "dev.jsonl"
    dev.write_text('{"text": "It rained.", "label": []}\n', encoding="utf8")
    with pytest.raises(ValueError, match=r"dev\.jsonl: the development data have no entities"):
        bigru_tagger.train(notes, tmp_path / "out", lang="xx", dev=dev, overrides=SHORT)
