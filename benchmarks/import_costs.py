"""Measure the time and memory of importing the package: `scripts/import_costs --help`."""

import json
import shutil
import subprocess
import sys
from statistics import median
from typing import Annotated

import typer
from wasabi.tables import table

# Selects the entry points that spaCy finds. For a fair comparison, it runs before all pipelines.
_FIND = """
import catalogue
from importlib.metadata import EntryPoints, distributions
points = [point for own in distributions() for point in own.entry_points]
catalogue.AVAILABLE_ENTRY_POINTS = EntryPoints(
    [point for point in points if not point.value.startswith({hidden!r})]
)
"""
_FIND_ALL = _FIND.format(hidden="(none)")
_HIDE = _FIND.format(hidden="bigru_tagger")
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
_PACKAGES = """
import json, os, sysconfig
from importlib.util import find_spec
roots = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
files = [(folder, name) for root in roots for folder, _, names in os.walk(root) for name in names]
n_bytes = sum(os.lstat(os.path.join(folder, name)).st_size for folder, name in files)
print(json.dumps([n_bytes, find_spec("torch") is not None]))
"""
_LOAD = """
import spacy
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
    python: Annotated[
        str, typer.Option(help="The Python of the environment, such as .venv/bin/python.")
    ] = sys.executable,
) -> None:
    """Print the medians of CPU seconds, memory and modules over processes. It needs Linux.

    A pipeline is loaded and called once. Its costs include `import spacy`, which imports torch if
    it is installed. The last line is the size of all packages of the environment.
    """
    if shutil.which(python) is None:
        raise typer.BadParameter(f"{python}: no such command", param_hint="--python")
    n_bytes, has_torch = run(_PACKAGES, "", python)
    spacy = "import spacy"
    steps = {"import torch": ("", "import torch")} if has_torch else {}
    steps |= {
        spacy: ("", spacy),
        "spacy.blank, package hidden": (f"{spacy}\n{_HIDE}", "spacy.blank('en')"),
        "spacy.blank": (spacy, "spacy.blank('en')"),
    }
    if against is not None:
        steps[f"{against}, package hidden"] = (_HIDE, _LOAD.format(path=against, only=["ner"]))
    if model is not None:
        steps[model] = (_FIND_ALL, _LOAD.format(path=model, only=None))
    steps["bigru-tagger --help"] = (
        "import sys; sys.argv[2:] = []",
        "import bigru_tagger.cli; bigru_tagger.cli.app(['--help'], standalone_mode=False)",
    )
    measured: dict[str, list[list[float]]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, (prepare, step) in steps.items():
            measured[name].append(run(f"{prepare}\n{_MEASURE}", step, python))
    rows = []
    for name, own in measured.items():
        seconds, mebibytes, modules = (median(column) for column in zip(*own, strict=True))
        rows.append((name, f"{seconds:.2f}", f"{mebibytes:.0f}", f"{modules:.0f}"))
    header = ("", "CPU s", "MiB", "modules")
    typer.echo(table(rows, header=header, divider=True, aligns=("l", "r", "r", "r")))
    typer.echo(f"Packages: {n_bytes / 1e6:,.0f} MB")


def run(code: str, argument: str, python: str = sys.executable) -> list[float]:
    """Run code in a new process.

    code (str): Python code, which prints numbers as JSON.
    argument (str): its argument.
    python (str): the Python to run.
    RETURNS (list[float]): the numbers of its last line.
    """
    command = [python, "-W", "ignore", "-c", code, argument]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    numbers: list[float] = json.loads(output.splitlines()[-1])
    return numbers


def main() -> None:
    """Run the command line."""
    typer.run(import_costs)


if __name__ == "__main__":
    main()
