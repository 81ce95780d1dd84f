"""`bigru-tagger tune`."""

import json

import pytest
import spacy
from samples import SENTENCES
from typer.testing import CliRunner

from bigru_tagger.cli import app


@pytest.fixture(scope="module")
def data(make_splits):
    """Column files that a pipeline trained on `SENTENCES` reads without errors."""
    return make_splits("")


@pytest.fixture
def model(ner, tmp_path):
    """A trained pipeline with settings that lose all entities."""
    pipe = ner.get_pipe("bigru_ner")
    before = dict(pipe.cfg)
    pipe.cfg["recall_bias"] = -40.0
    ner.to_disk(tmp_path / "model")
    pipe.cfg.update(before)
    return tmp_path / "model"


def run(*arguments):
    return CliRunner().invoke(app, ["tune", *(str(argument) for argument in arguments)])


def test_the_settings_are_stored_in_the_model(model, data):
    before = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    result = run(model, data, "--component", "bigru_ner", "--report", "test")
    assert result.exit_code == 0, result.output
    cfg = json.loads((model / "bigru_ner" / "cfg").read_text())
    assert cfg["recall_bias"] == 0.0  # the value closest to 0 among equals
    lines = result.output.splitlines()
    assert lines[0] == "recall_bias of bigru_ner: 0 (was -40)"
    assert lines[1].startswith("threshold of bigru_ner: 0 (was 0)")
    rows = [line.split() for line in lines[4:6]]
    assert [row[:4] for row in rows] == [
        ["validation", "0.00", "100.00", "+100.00"],
        ["test", "0.00", "100.00", "+100.00"],
    ]
    assert "The settings were chosen on validation among" in result.output
    after = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    assert {file.name for file in before if before[file] != after[file]} == {"cfg", "checksums"}
    found = spacy.load(model)(SENTENCES[0][0])
    assert [ent.text for ent in found.ents] == ["Ada Lovelace", "Babbage", "London"]


def test_another_pipeline_is_written(model, data, tmp_path):
    before = (model / "bigru_ner" / "cfg").read_bytes()
    options = ("--output", tmp_path / "new")  # the only component
    result = run(model, data, *options)
    assert result.exit_code == 0, result.output
    assert spacy.load(tmp_path / "new").get_pipe("bigru_ner").cfg["recall_bias"] == 0.0
    assert (model / "bigru_ner" / "cfg").read_bytes() == before
    again = run(model, data, *options)
    assert again.exit_code == 1
    assert "already exists: remove it" in again.output
