"""The notebook and the spaCy project in `examples/` run as they are."""

import json
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from samples import ROOT
from spacy.cli._util import app as spacy_app
from typer.testing import CliRunner
from weasel.util import load_project_config

from bigru_tagger.cli import app

EXAMPLES = ROOT / "examples"
# Too little to learn much, on both sides of an evaluation.
FEW_STEPS = {"vars.max_steps": 4, "vars.eval_frequency": 2, "vars.build": "none"}


@pytest.fixture
def commands_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an activated environment."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files of spaCy's
def test_the_commands_of_the_project_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with few steps; the real command is a slow test."""
    shutil.copy(EXAMPLES / "project" / "project.yml", tmp_path)
    monkeypatch.chdir(tmp_path)
    project = load_project_config(tmp_path, overrides=FEW_STEPS)  # makes the folders
    commands = {command["name"]: command for command in project["commands"]}
    assert sorted(project["workflows"]["all"]) == sorted(commands)
    for name in project["workflows"]["all"]:
        for dependency in commands[name].get("deps", []):
            assert (tmp_path / dependency).exists(), (name, dependency)
        (script,) = commands[name]["script"]
        program, *arguments = script.split()
        if program == "python":
            assert arguments[:2] == ["-m", "spacy"]
            result = CliRunner().invoke(spacy_app, arguments[2:])
        else:
            assert program == "bigru-tagger"
            result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (name, result.output, result.exception)
        for output in commands[name].get("outputs", []):
            assert (tmp_path / output).exists(), (name, output)
    scores = json.loads((tmp_path / "reports" / "scores.json").read_text(encoding="utf8"))
    assert (scores["split"], scores["documents"]) == ("test", 130)
    (meta,) = tmp_path.glob("packages/en_sample_ner-0.0.1/meta.json")
    assert "bigru-tagger" in meta.read_text(encoding="utf8")


@pytest.mark.slow
@pytest.mark.usefixtures("commands_on_path")
def test_spacy_project_run(tmp_path: Path) -> None:
    from weasel.cli.run import project_run  # noqa: PLC0415 - it changes the command line

    place = tmp_path / "project"
    shutil.copytree(EXAMPLES / "project", place, ignore=shutil.ignore_patterns("training"))
    project_run(place, "all", overrides={**FEW_STEPS, "vars.build": "sdist"})
    assert list(place.glob("packages/en_sample_ner-0.0.1/dist/*.tar.gz"))
    assert (place / "reports" / "report.html").stat().st_size > 10_000


def read_notebook() -> nbformat.NotebookNode:
    notebook = nbformat.read(EXAMPLES / "own_data.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_the_notebook_holds_no_outputs() -> None:
    """They would be of another version, and of somebody's machine."""
    code = [cell for cell in read_notebook().cells if cell.cell_type == "code"]
    assert len(code) > 8
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.usefixtures("commands_on_path")
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = read_notebook()
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": tmp_path}})
    client.execute()
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf8"))
    assert scores["documents"] == 130
    assert list(tmp_path.glob("packages/en_own_ner-0.0.1/dist/*.tar.gz"))
    # A command that fails does not fail its cell.
    outputs = [o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not any("Error" in text or "Traceback" in text for text in outputs), outputs
