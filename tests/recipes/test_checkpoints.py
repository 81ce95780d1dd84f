"""Trainings that stop: nothing is lost, and what goes on ends as if it had not stopped."""

import io
import json
import re
import shutil
import signal
from contextlib import contextmanager

import pytest
import spacy
from samples import SENTENCES, annotate
from spacy.cli.init_config import fill_config
from spacy.cli.train import train as spacy_train
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as run_loop
from spacy.util import load_config
from typer.testing import CliRunner

import bigru_tagger
from bigru_tagger.cli import app
from bigru_tagger.corpus.fingerprint import fingerprint
from bigru_tagger.model.training_state import read_progress
from bigru_tagger.recipes import training
from bigru_tagger.recipes.checkpoints import (
    TrainingStopped,
    _describe_settings,
    train_pipeline,
    use_checkpoints,
)
from bigru_tagger.recipes.training import plan_training, run_training
from bigru_tagger.tuning.tuner import Tuner

# 16 Docs in batches of 9: an epoch ends after each second step. Evaluated after steps 0, 5, 10, 15.
STEPS = {
    "training.max_steps": 17,
    "training.eval_frequency": 5,
    "training.patience": 0,
    "training.optimizer.learn_rate.initial_rate": 0.02,
    "components.ner.model.hidden": 8,
}


@pytest.fixture(autouse=True)
def no_scores(monkeypatch):
    """Leave out the evaluation after the training."""
    monkeypatch.setattr(training, "evaluate", lambda *_, **__: None)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """Texts with offsets, in doccano's format."""
    path = tmp_path_factory.mktemp("data") / "notes.jsonl"
    rows = []
    for text, ents, *_ in SENTENCES * 5:
        doc = annotate(Doc(spacy.blank("xx").vocab, words=text.split()), ents)
        rows.append(
            {"text": doc.text, "label": [[e.start_char, e.end_char, e.label_] for e in doc.ents]}
        )
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    return path


@pytest.fixture
def train(notes, tmp_path):
    """Train in the same folder, since the config names it."""

    def run(**settings):
        settings = {"lang": "xx", "dev_share": 0.2, "overrides": STEPS, **settings}
        return run_training(plan_training(settings.pop("source", notes), tmp_path, **settings))

    return run


@contextmanager
def stop(call, method=Language.update, how=KeyboardInterrupt, owner=Language):
    """Stop at a call of a method of a class, such as the third update."""
    name, calls = method.__name__, iter(range(1, 1000))

    def stopping(*args, **settings):
        if next(calls) == call:
            if isinstance(how, signal.Signals):
                signal.raise_signal(how)
            else:
                raise how
        return method(*args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stopping)
        yield


def models(output):
    """The contents of all files of both models."""
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for name in ("model-best", "model-last")
        for path in sorted((output / name).rglob("*"))
        if path.is_file()
    }


def loads(folder):
    nlp = spacy.load(folder)
    nlp("Ada Lovelace lived in London .")
    return nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER")


@pytest.fixture
def uninterrupted(train, tmp_path):
    train()
    found = models(tmp_path)
    assert found["model-best/ner/model"] != found["model-last/ner/model"]
    shutil.rmtree(tmp_path / "model-best")
    shutil.rmtree(tmp_path / "model-last")
    return found


def test_a_training_that_goes_on_ends_with_the_same_bytes(uninterrupted, train, tmp_path):
    stops = [
        (1, Language.update),  # before the first model
        (2, Language.update),  # within the first epoch
        (2, Language.evaluate),  # right at an evaluation
        (2, Language.to_disk),  # while its model is written
        (9, Language.update),  # between evaluations, at the end of an epoch
        (5, Language.to_disk),  # while the last model is written, after all steps
    ]
    for call, method in stops:
        try:
            with stop(call, method):
                train(overwrite=True)
        except TrainingStopped:
            train(resume=True)
        assert models(tmp_path) == uninterrupted, (call, method)
        assert {path.name for path in tmp_path.iterdir()} == {
            "corpus",
            "config.cfg",
            "model-best",
            "model-last",
        }


def test_a_stop_after_the_last_step(uninterrupted, train, tmp_path):
    with pytest.raises(TrainingStopped), stop(1, Tuner.balance, owner=Tuner):
        train()
    with pytest.raises(ValueError, match="has an unfinished training: set `resume`"):
        train()
    train(resume=True)
    assert models(tmp_path) == uninterrupted
    assert not (tmp_path / "checkpoint").exists()


def test_a_training_can_stop_several_times(uninterrupted, train, tmp_path):
    # The updates of a training that goes on are counted from the last evaluation.
    for call in (4, 7, 1, 6, 2):
        with pytest.raises(TrainingStopped), stop(call):
            train(resume=True)
    assert [found["step"] for found in progress(tmp_path)] == [0, 5, 10]
    train(resume=True)
    assert models(tmp_path) == uninterrupted


def progress(output):
    return read_progress(output / "checkpoint" / "training.safetensors")["evaluations"]


@pytest.fixture
def interruptible():
    """A process that a shell started in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("interruptible")
def test_signals(number, train, tmp_path):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(TrainingStopped) as error, stop(8, how=number):
        train()
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    first, second = progress(tmp_path)
    assert (first["step"], second["step"]) == (0, 5)
    best = first if first["score"] >= second["score"] else second
    assert str(error.value) == (
        f"Stopped. {tmp_path / 'model-best'} is of step {best['step']} "
        f"(score {best['score']:.1%}). To go on after step 5, repeat the command with --resume"
    )
    assert loads(tmp_path / "model-best")


def test_the_command(notes, tmp_path):
    arguments = ["train", str(notes), "--output", str(tmp_path / "out"), "--lang", "xx"]
    overrides = [text for name, value in STEPS.items() for text in (f"--{name}", str(value))]
    with stop(7):
        result = CliRunner().invoke(app, [*arguments, "--", *overrides])
    assert result.exit_code == 130
    assert "repeat the command with --resume" in result.output
    result = CliRunner().invoke(app, [*arguments, "--", *overrides])
    assert result.exit_code == 1
    assert "set --resume to go on with it, or --overwrite to replace it" in result.output
    result = CliRunner().invoke(app, [*arguments, "--resume", "--overwrite"])
    assert "set --resume to go on with a training, or --overwrite to replace it" in result.output


def test_another_setting_is_an_error(train, tmp_path):
    with pytest.raises(TrainingStopped), stop(7):
        train()
    before = models(tmp_path)
    message = (
        r"components\.ner\.model\.hidden is 16 and was 8; training\.dropout is 0\.25 and was "
        r"0\.5\. .* with `overwrite`, or by removing"
    )
    changed = {**STEPS, "training.dropout": 0.25, "components.ner.model.hidden": 16}
    with pytest.raises(ValueError, match=message):
        train(resume=True, overrides=changed)
    assert models(tmp_path) == before


def test_other_data_are_an_error(train, notes, tmp_path):
    with pytest.raises(TrainingStopped), stop(7):
        train()
    other = tmp_path / "other.jsonl"
    other.write_text(notes.read_text("utf8").replace("Oslo", "Rome"), encoding="utf8")
    with pytest.raises(ValueError, match=r"another config or other data: .*train\.spacy has other"):
        train(resume=True, source=other)
    train(resume=True)


def test_only_paths_with_contents_are_data(notes, tmp_path):
    config = load_config(write_config(notes, tmp_path))
    config["corpora"]["dev"]["ner_column"] = ""
    config["paths"]["vectors"] = "x" * 5000
    config["paths"]["own"] = str(tmp_path / "missing")
    nlp = spacy.blank("xx")
    nlp.config = config
    files = _describe_settings(nlp)["files"]
    assert files == {str(notes): fingerprint(str(notes))}


def test_a_finished_training_cannot_be_resumed(train):
    train(overrides={**STEPS, "training.max_steps": 1})
    with pytest.raises(ValueError, match="model-best already exists"):
        train(resume=True)


def test_the_old_models_stay_until_the_new_training_has_one(train, tmp_path):
    train()
    before = models(tmp_path)
    with pytest.raises(TrainingStopped, match="before the first evaluation"), stop(1):
        train(overwrite=True, seed=1)
    assert models(tmp_path) == before
    with pytest.raises(TrainingStopped, match="is of step 0"), stop(2):
        train(resume=True, seed=1)
    assert models(tmp_path)["model-last/ner/model"] != before["model-last/ner/model"]


def test_a_full_disk(uninterrupted, train, tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")  # Windows has none
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    to_disk, calls = Language.to_disk, iter(range(100))

    def on_a_full_disk(*args, **settings):
        if next(calls) == 1:  # as of the second evaluation
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        to_disk(*args, **settings)

    monkeypatch.setattr(Language, "to_disk", on_a_full_disk)
    path = re.escape(str(tmp_path / "model-last"))
    message = rf"File too large, while writing {path}\. .* set `resume`"
    try:
        with pytest.raises(OSError, match=message):
            train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [found["step"] for found in progress(tmp_path)] == [0]
    assert loads(tmp_path / "model-best")
    assert loads(tmp_path / "model-last")
    train(resume=True)
    assert models(tmp_path) == uninterrupted


def test_a_disk_that_is_full_before_the_first_model_is_copied(train, tmp_path, monkeypatch):
    def copytree(source, target, **settings):
        raise shutil.Error([(source, target, "[Errno 28] No space left on device")] * 3)

    monkeypatch.setattr(shutil, "copytree", copytree)
    best = re.escape(str(tmp_path / "model-best"))
    message = rf"No space left on device, while writing {best}\. To go on when it can be written"
    with pytest.raises(OSError, match=message):
        train()
    assert not (tmp_path / "model-best").exists()


def test_what_a_killed_training_left_is_removed(train, tmp_path):
    with pytest.raises(TrainingStopped), stop(2):
        train()
    for name in (".model-best.1.part", ".model-last.old.part", "checkpoint/.x.1.part"):
        (tmp_path / name).mkdir()
    train(resume=True)
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_state_is_named(train, tmp_path):
    with pytest.raises(TrainingStopped), stop(2):
        train()
    state = tmp_path / "checkpoint" / "training.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"training\.safetensors is damaged"):
        train(resume=True)


def test_the_steps_that_fit_into_a_time_are_kept(train, tmp_path, monkeypatch):
    without = {name: value for name, value in STEPS.items() if not name.endswith(("s", "y"))}
    # 28 s are left: 5 evaluations, and 46 steps in 23 s.
    monkeypatch.setattr(training, "_measure", lambda config: (1.0, 0.5, 1.0))
    with pytest.raises(TrainingStopped), stop(2):
        train(minutes=0.5, overrides=without)
    config = (tmp_path / "config.cfg").read_text("utf8")
    assert "max_steps = 46" in config
    monkeypatch.setattr(training, "_measure", lambda config: (1.0, 5.0, 1.0))
    with pytest.raises(TrainingStopped), stop(2):
        train(minutes=0.5, overrides=without, resume=True)
    assert (tmp_path / "config.cfg").read_text("utf8") == config


def test_a_training_that_continues_another_goes_on(ner, notes, tmp_path):
    ner.to_disk(tmp_path / "old")
    settings = {
        "start": str(tmp_path / "old"),
        "overrides": {"training.max_steps": 5, "training.eval_frequency": 2},
        "dev_share": 0.2,
    }
    ships = tmp_path / "ships.jsonl"
    rows = [{"text": "Ships leave Oslo daily .", "label": [[0, 5, "SHIP"]]}] * 8
    ships.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    bigru_tagger.train(ships, tmp_path / "out", **settings)
    expected = models(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(TrainingStopped), stop(4):
        bigru_tagger.train(ships, tmp_path / "out", **settings)
    bigru_tagger.train(ships, tmp_path / "out", **settings, resume=True)
    assert models(tmp_path / "out") == expected


def test_distillation_goes_on(ner, tmp_path):
    ner.to_disk(tmp_path / "teacher")
    (tmp_path / "texts.txt").write_text("\n".join(text for text, *_ in SENTENCES * 5), "utf8")
    output = tmp_path / "out"
    arguments = [str(tmp_path / "teacher"), str(tmp_path / "texts.txt"), "--output", str(output)]
    overrides = [text for name, value in STEPS.items() for text in (f"--{name}", str(value))]

    def run(*options):
        return CliRunner().invoke(app, ["distill", *arguments, *options, "--", *overrides])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bigru_tagger.recipes.text.describe_training", lambda _: "")
        assert run().exit_code == 0
        expected = models(output)
        assert "model-best already exists" in run().output
        with stop(8):
            assert run("--overwrite").exit_code == 130
        result = run()
        assert result.exit_code == 1
        assert "set --resume to go on with it, or --overwrite to replace it" in result.output
        result = run("--resume")
        assert result.exit_code == 0, result.output
    assert models(output) == expected
    result = CliRunner().invoke(app, ["distill", "x", "x.cfg", "t", "--output", "o", "--resume"])
    assert result.exit_code == 1


# --- `spacy train`

MIXED = """
[nlp]
lang = "xx"
pipeline = ["tok2vec", "ner", "parsed"]

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tok2vec.model]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 16
depth = 1
embed_size = 50
window_size = 1
maxout_pieces = 2
subword_features = true

[components.ner]
factory = "bigru_ner"

[components.ner.model]
@architectures = "bigru_tagger.BiGRUTagger.v1"
hidden = 8
decode = "crf"

[components.ner.model.embed]

[components.ner.model.embed.upstream]
@misc = "bigru_tagger.Tok2VecEmbed.v1"

[components.ner.model.embed.upstream.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16

[components.parsed]
factory = "ner"

[components.parsed.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "ner"
extra_state_tokens = false
hidden_width = 8
maxout_pieces = 2
use_upper = true

[components.parsed.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16

[corpora]

[corpora.train]
@readers = "bigru_tagger.Corpus.v1"
path = PATH

[corpora.train.augmenter]
@augmenters = "bigru_tagger.CaseAugmenter.v1"

[corpora.dev]
@readers = "bigru_tagger.Corpus.v1"
path = PATH

[training]
seed = 3
dropout = 0.2
accumulate_gradient = 2
max_steps = 11
eval_frequency = 3

[training.optimizer]
@optimizers = "OPTIMIZER"

[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
warmup_steps = 2
total_steps = 14
initial_rate = 0.02

[training.batcher]
@batchers = "spacy.batch_by_words.v1"
discard_oversize = false
tolerance = 0.2

[training.batcher.size]
@schedules = "compounding.v1"
start = 20
stop = 60
compound = 1.1

[training.logger]
@loggers = "bigru_tagger.Checkpoints.v1"
"""


def write_config(notes, folder, optimizer="Adam.v1", text=MIXED):
    short = folder / "short.cfg"
    for section in ("components.ner.model.embed", "training"):
        text = text.replace(
            f"[{section}.", f"[{section}]\n\n[{section}.", f"[{section}]" not in text
        )
    text = text.replace("PATH", json.dumps(str(notes))).replace("OPTIMIZER", optimizer)
    short.write_text(text, encoding="utf8")
    fill_config(folder / "config.cfg", short, silent=True)
    return folder / "config.cfg"


# spaCy's `ner` draws random numbers in its updates, from the module that orders the data.
@pytest.mark.parametrize(
    "optimizer",
    [
        "Adam.v1",
        pytest.param("RAdam.v1", marks=pytest.mark.slow),
        pytest.param("bigru_tagger.SGD.v1", marks=pytest.mark.slow),
    ],
)
def test_spacy_train_goes_on_with_any_component(optimizer, notes, tmp_path):
    config, output = write_config(notes, tmp_path, optimizer), tmp_path / "out"
    spacy_train(config, output)
    assert {path.name for path in output.iterdir()} == {"model-best", "model-last"}
    expected = models(output)
    shutil.rmtree(output)
    for call in (3, 16, 8):  # two updates are a step
        with pytest.raises(KeyboardInterrupt), stop(call):
            spacy_train(config, output)
        assert loads(output / "checkpoint" / "model-best")
    spacy_train(config, output)
    assert models(output) == expected


def test_spacy_train_needs_an_output_folder(notes, tmp_path):
    nlp = init_nlp(load_config(write_config(notes, tmp_path)))
    with pytest.raises(ValueError, match="needs an output folder"):
        run_loop(nlp, stdout=io.StringIO())


def test_changed_settings_of_spacy_train_are_an_error(notes, tmp_path):
    config, output = write_config(notes, tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), stop(3):
        spacy_train(config, output)
    with pytest.raises(ValueError, match=r"training\.dropout is 0\.4 and was 0\.2"):
        spacy_train(config, output, overrides={"training.dropout": 0.4})
    assert loads(output / "checkpoint" / "model-best")


def test_other_components_have_safe_models_but_no_state(notes, tmp_path):
    text = (
        MIXED[: MIXED.index("[components.ner]")] + MIXED[MIXED.index("[components.parsed]") :]
    ).replace('"ner", "parsed"', '"parsed"')
    config, output = write_config(notes, tmp_path, text=text), tmp_path / "out"
    with (
        pytest.warns(UserWarning, match="cannot be continued if it stops: no component of bigru"),
        pytest.raises(KeyboardInterrupt),
        stop(9),
    ):
        spacy_train(config, output)
    assert {path.name for path in (output / "checkpoint").iterdir()} == {
        "model-best",
        "settings.json",
    }
    spacy.load(output / "checkpoint" / "model-best")
    nlp = init_nlp(load_config(config))
    with (
        pytest.warns(UserWarning, match="cannot be continued"),
        pytest.raises(ValueError, match="but tok2vec, parsed: use `spacy train`"),
    ):
        train_pipeline(nlp, tmp_path / "own", finish=lambda: None)


def test_the_logger_of_the_config_is_kept(notes, tmp_path, capsys):
    config = write_config(notes, tmp_path)
    overrides = {"training.logger.logger": {"@loggers": "bigru_tagger.ProgressLogger.v1"}}
    loaded = load_config(config, overrides=overrides)
    use_checkpoints(loaded)
    assert loaded["training"]["logger"] == {
        "@loggers": "bigru_tagger.Checkpoints.v1",
        "logger": {"@loggers": "bigru_tagger.ProgressLogger.v1"},
    }
    loaded["training"]["logger"] = {"@loggers": "spacy.ConsoleLogger.v1"}
    use_checkpoints(loaded)
    assert loaded["training"]["logger"]["logger"] == {"@loggers": "spacy.ConsoleLogger.v1"}
    spacy_train(config, tmp_path / "out", overrides={"training.max_steps": 1})
    assert "ENTS_F" in capsys.readouterr().out  # the table of spaCy's ConsoleLogger
