"""The results in the repository: every line can be read, and every file has a table."""

import warnings
from pathlib import Path

import pytest
from samples import ROOT

from benchmarks.learning_curve import curve_table
from benchmarks.replication.report import results_table
from benchmarks.replication.runs import read_runs

FILES = sorted((ROOT / "results").glob("*.jsonl"))
CURVE = "learning_curve"


def n_lines(path: Path) -> int:
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf8").splitlines())


def test_there_are_results() -> None:
    assert len(FILES) >= 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_line_is_read_and_written_unchanged(path: Path) -> None:
    runs = read_runs(path)  # the warning for a damaged line is an error in tests
    assert len(runs) == n_lines(path)
    assert "".join(f"{run.to_json()}\n" for run in runs) == path.read_text(encoding="utf8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recipe_is_in_the_table(path: Path) -> None:
    runs = read_runs(path)
    if path.stem == CURVE:
        table = curve_table(runs)
        names = {run.recipe.name for run in runs}
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*the code has changed between the runs")
            table = results_table(runs)
        names = {f"`{run.recipe.config}`" for run in runs}
    assert all(name in table for name in names)
