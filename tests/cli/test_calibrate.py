"""`bigru-tagger calibrate`."""

import json
import os
import subprocess
import sys

import pytest
import spacy
from samples import ROOT
from typer.testing import CliRunner

from bigru_tagger.cli import app


@pytest.fixture(scope="module")
def data(make_splits):
    """Column files that a pipeline trained on `SENTENCES` reads partly wrong."""
    return make_splits("Ada O\nLovelace O\n")


@pytest.fixture
def model(ner, tmp_path):
    """A trained pipeline on disk, which a test may change."""
    ner.to_disk(tmp_path / "model")
    return tmp_path / "model"


def run(*arguments):
    return CliRunner().invoke(app, ["calibrate", *(str(argument) for argument in arguments)])


def test_the_temperature_is_stored_in_the_model(model, data):
    before = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    result = run(model, data, "--report", "test")
    assert result.exit_code == 0, result.output
    temperature = json.loads((model / "bigru_ner" / "cfg").read_text())["temperature"]
    assert f"Temperature of bigru_ner: {temperature:.3f} (was 1.000)" in result.output
    assert [line.split()[0] for line in result.output.splitlines()[3:5]] == ["validation", "test"]
    # spaCy's parser of JSON may differ from Python's in the last bit.
    assert temperature != 1.0
    loaded = spacy.load(model).get_pipe("bigru_ner").temperature
    assert loaded == pytest.approx(temperature, rel=1e-12)
    after = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    assert {file.name for file in before if before[file] != after[file]} == {"cfg", "checksums"}
    assert before.keys() == after.keys()


@pytest.mark.parametrize("threshold", [0.0, 0.55])
def test_a_threshold_that_now_keeps_other_spans_is_noted(model, data, threshold):
    nlp = spacy.load(model)
    nlp.get_pipe("bigru_ner").cfg["threshold"] = threshold
    nlp.to_disk(model)
    result = run(model, data)
    assert result.exit_code == 0, result.output
    assert ("Note: with the new probabilities, the threshold of 0.55" in result.output) == bool(
        threshold
    )


def test_another_pipeline_is_written(model, data, tmp_path):
    before = (model / "bigru_ner" / "cfg").read_bytes()
    options = ("--component", "bigru_ner", "--output", tmp_path / "new")
    result = run(model, data, *options)
    assert result.exit_code == 0, result.output
    assert spacy.load(tmp_path / "new").get_pipe("bigru_ner").temperature != 1.0
    assert (model / "bigru_ner" / "cfg").read_bytes() == before
    result = run(model, data, *options)
    assert result.exit_code == 1
    assert "already exists: remove it" in result.output


def test_the_device_of_the_command_is_not_stored(model, data, tmp_path):
    options = ("--component", "bigru_ner", "--output", tmp_path / "new", "--device", "cpu")
    result = run(model, data, *options)
    assert result.exit_code == 0, result.output
    stored = spacy.load(tmp_path / "new")
    assert stored.get_pipe("bigru_ner").temperature != 1.0
    assert stored.config == spacy.load(model).config
    failed = run(model, data, *options[:2], "--device", "abacus")
    assert failed.exit_code == 1
    assert "abacus" in failed.output


def test_a_missing_component_is_named(model, data):
    result = run(model, data, "--component", "none")
    assert result.exit_code == 1
    assert "Set --component to a component" in result.output


def test_a_single_file_has_no_split_and_takes_the_options_of_readers(model, data, tmp_path):
    folder = tmp_path / "semicolons"
    folder.mkdir()
    lines = (data / "validation.conll").read_text(encoding="utf8")
    separated = folder / "gold.txt"
    separated.write_text(lines.replace(" ", ";"), encoding="utf8")
    known = run(model, data, "--component", "bigru_ner", "--output", tmp_path / "known")
    options = ("--component", "bigru_ner", "--separator", ";", "--columns", "tokens,ner")
    result = run(model, separated, *options, "--output", tmp_path / "new")
    assert result.exit_code == 0, result.output
    lines, expected = result.output.splitlines(), known.output.splitlines()
    assert lines[0] == expected[0]  # the same tokens give the same temperature
    assert lines[3].split() == [str(separated), *expected[3].split()[1:]]


def test_the_script_is_the_command(model, data):
    command = [sys.executable, ROOT / "scripts" / "calibrate", model, data, "--component", "none"]
    ended = subprocess.run(
        command,
        cwd=model,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == run(model, data, "--component", "none").stderr
