"""Measure the time and memory of importing the package: `scripts/import_costs --help`."""

import json
import subprocess
import sys
from statistics import median
from typing import Annotated

import typer
from wasabi.tables import table

_HIDE = """
import catalogue
from importlib.metadata import EntryPoints, distributions
points = [point for own in distributions() for point in own.entry_points]
catalogue.AVAILABLE_ENTRY_POINTS = EntryPoints(
    [point for point in points if not point.value.startswith("bigru_tagger")]
)
"""
_MEASURE = """
import json, os, sys, time
from pathlib import Path

def memory():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

n_modules, n_mebibytes, seconds = len(sys.modules), memory(), time.process_time()
exec(sys.argv[1])
seconds = time.process_time() - seconds
print(json.dumps([seconds, memory() - n_mebibytes, len(sys.modules) - n_modules]))
"""
_LOAD = """
names = spacy.util.load_config(spacy.util.ensure_path({path!r}) / "config.cfg")["nlp"]["pipeline"]
nlp = spacy.load({path!r}, exclude=[name for name in names if name not in ({only!r} or names)])
nlp("Ada Lovelace wrote to Babbage from London.")
"""


def import_costs(
    model: Annotated[str | None, typer.Option(help="Folder of a pipeline of this package.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Folder of another pipeline; only its `ner` is loaded.")
    ] = None,
    *,
    runs: Annotated[
        int, typer.Option(help="Number of processes per line. Lines take turns.", min=1)
    ] = 7,
) -> None:
    """Print the medians of CPU seconds, memory and modules over processes. It needs Linux.

    The costs of pipelines do not include `import spacy`, which imports torch if it is installed.
    """
    spacy = "import spacy"
    steps = {
        "import torch": ("", "import torch"),
        spacy: ("", spacy),
        "spacy.blank, package hidden": (f"{spacy}\n{_HIDE}", "spacy.blank('en')"),
        "spacy.blank": (spacy, "spacy.blank('en')"),
    }
    if against is not None:
        load = _LOAD.format(path=against, only=["ner"])
        steps[f"{against}, package hidden"] = (f"{spacy}\n{_HIDE}", load)
    if model is not None:
        steps[model] = (spacy, _LOAD.format(path=model, only=None))
    steps["bigru-tagger --help"] = (
        "import sys; sys.argv[2:] = []",
        "import bigru_tagger.cli; bigru_tagger.cli.app(['--help'], standalone_mode=False)",
    )
    measured: dict[str, list[list[float]]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, (prepare, step) in steps.items():
            measured[name].append(run(prepare, step))
    rows = []
    for name, own in measured.items():
        seconds, mebibytes, modules = (median(column) for column in zip(*own, strict=True))
        rows.append((name, f"{seconds:.2f}", f"{mebibytes:.0f}", f"{modules:.0f}"))
    header = ("", "CPU s", "MiB", "modules")
    typer.echo(table(rows, header=header, divider=True, aligns=("l", "r", "r", "r")))


def run(prepare: str, step: str) -> list[float]:
    """Run a step in a new process.

    prepare (str): Python code that runs before the step, and is not measured.
    step (str): Python code of the step.
    RETURNS (list[float]): CPU seconds, memory in MiB, and number of imported modules.
    """
    command = [sys.executable, "-W", "ignore", "-c", f"{prepare}\n{_MEASURE}", step]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    numbers: list[float] = json.loads(output.splitlines()[-1])
    return numbers


def main() -> None:
    """Run the command line."""
    typer.run(import_costs)


if __name__ == "__main__":
    main()
