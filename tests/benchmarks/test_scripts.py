"""The scripts find `benchmarks` in the clone from any folder, without an installation."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from samples import ROOT

# The module of `benchmarks` that each script runs.
MODULES = {
    "benchmark": "measure_speed",
    "compare_cells": "compare_cells",
    "compare_runtimes": "compare_runtimes",
    "fuzz_data": "fuzz_data",
    "fuzz_texts": "fuzz_texts",
    "import_costs": "import_costs",
    "interrupt_training": "interrupt_training",
    "learning_curve": "learning_curve",
    "load_server": "load_server",
    "replicate": "replicate",
    "soak_server": "soak_server",
}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another working folder, and an import path without the clone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(ROOT))])
    return tmp_path


@pytest.mark.parametrize("script", MODULES)
def test_a_script_runs_its_module(script: str, elsewhere: Path) -> None:
    found = runpy.run_path(str(ROOT / "scripts" / script))
    assert found["main"].__module__ == f"benchmarks.{MODULES[script]}"
    assert sys.path[0] == str(ROOT)


@pytest.mark.parametrize("linked", [False, True])
def test_a_script_starts_from_another_folder_and_by_a_link(elsewhere: Path, linked: bool) -> None:
    script = ROOT / "scripts" / "import_costs"
    if linked:
        script = elsewhere / "costs"
        script.symlink_to(ROOT / "scripts" / "import_costs")
    ended = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Print the medians of CPU seconds" in ended.stdout


def test_the_flair_script_imports_only_flair(elsewhere: Path) -> None:
    # An environment of Flair has no spaCy. Here, modules with these names raise when imported.
    for name in ("spacy", "bigru_tagger", "typer"):
        (elsewhere / f"{name}.py").write_text("raise AssertionError(__name__)", encoding="utf8")
    ended = subprocess.run(
        [sys.executable, ROOT / "scripts" / "flair_tagger", "--help"],
        env={**os.environ, "PYTHONPATH": str(elsewhere)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "AssertionError" not in ended.stderr
    assert ended.returncode == 0 or "No module named 'flair'" in ended.stderr


def test_all_scripts_of_python_are_thin() -> None:
    for path in (ROOT / "scripts").iterdir():
        lines = path.read_text(encoding="utf8").splitlines()
        if "python" in lines[0] or path.suffix == ".py":
            assert len(lines) <= 20, path
