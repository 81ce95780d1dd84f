"""Interrupt trainings at random, and compare how they end: `scripts/interrupt_training --help`.

Linux only. Each training runs in a process of its own, which is forked and so starts at once.
"""

import io
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest.mock import patch

import spacy
import torch
import typer
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config
from tqdm import tqdm
from wasabi.tables import table

from bigru_tagger.model.training_state import read_progress
from bigru_tagger.recipes import checkpoints
from bigru_tagger.recipes.training import plan_training

_SETTINGS = {
    "training.max_steps": 26,
    "training.eval_frequency": 4,
    "training.patience": 0,
    "training.dropout": 0.1,
    "training.optimizer.learn_rate.initial_rate": 0.02,
    "components.ner.model.hidden": 32,
}
_WORDS = {
    "B-PER": ["Ada", "Bob", "Eve", "Ines", "Maria", "Carl"],
    "B-LOC": ["Oslo", "Rome", "Lisbon", "Paris", "Riga", "Ines"],
    "O": ["met", "left", "saw", "near", "with", "for"],
}
_MAX_SIZE = 200_000  # bytes of a file after which writing it fails
_OPERATIONS = {
    *("open", "ctypes.dlsym", "os.mkdir", "os.remove", "os.rename", "os.rmdir"),
    *("shutil.copyfile", "shutil.rmtree"),
}


@dataclass(frozen=True)
class System:
    """A command that trains.

    name (str): the command.
    train (Callable[[Path, Path, bool], None]): trains by a config into a folder; the last argument
        is whether to go on with a training.
    best (str): where the safe copy of the best model is in that folder.
    """

    name: str
    train: Callable[[Path, Path, bool], None]
    best: str


def _train(config: Path, output: Path, resume: bool) -> None:
    nlp = init_nlp(load_config(config))
    checkpoints.train_pipeline(nlp, output, finish=lambda: None, resume=resume)


def _spacy_train(config: Path, output: Path, resume: bool) -> None:
    output.mkdir(exist_ok=True)
    spacy_train(init_nlp(load_config(config)), output, stdout=io.StringIO())


SYSTEMS = [
    System("bigru-tagger train", _train, "model-best"),
    System("spacy train", _spacy_train, "checkpoint/model-best"),
]


# --- in the process of a training


def _count_operations(act: Callable[[int], None]) -> Iterator[int]:
    """Call a function before each file operation, with its number. YIELDS (int): how many so far.

    A file is opened for reading or writing, renamed, copied or removed.
    """
    numbers = itertools.count(1)
    last = 0

    def watch(event: str, _: Any) -> None:
        nonlocal last
        if event in _OPERATIONS:
            last = next(numbers)
            act(last)

    sys.addaudithook(watch)
    while True:
        yield last


def _kill(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_write(size: int) -> None:
    import resource  # noqa: PLC0415 - Windows has none

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
    _fill_disk(size)


def _fill_disk(size: int) -> None:
    import resource  # noqa: PLC0415 - Windows has none

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit))


# What happens before a file operation.
OPERATIONS = {
    "SIGKILL before a file operation": _kill,
    "killed in the middle of a write": _kill_in_write,
    "full disk": _fill_disk,
}
# What the parent process sends after a time.
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


def _run(  # noqa: PLR0917 - the arguments of a process
    system: System,
    config: Path,
    output: Path,
    resume: bool,
    operation: tuple[str, int, int] | None = None,
    record: Path | None = None,
) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - of a process that is killed
    kind, number, size = operation or ("", 0, 0)
    counted = _count_operations(lambda i: OPERATIONS[kind](size) if i == number else None)
    save = checkpoints.Saver._save
    models = []

    def save_and_record(saver: Any, info: Any) -> None:
        save(saver, info)
        models.append((info["step"], time.monotonic(), digest(saver._best)))

    began = time.monotonic()
    with patch.object(checkpoints.Saver, "_save", save_and_record if record else save):
        next(counted)
        system.train(config, output, resume)
    if record:
        result = [next(counted), began, time.monotonic(), models]
        record.write_text(json.dumps(result), encoding="utf8")


# --- in the process that interrupts


def digest(folder: Path) -> str:
    """Compute a hash of all files of a folder and their names.

    folder (Path): the folder.
    RETURNS (str): the hash.
    """
    found = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class Trial:
    """Trainings by a system, all with the same config and in the same folder.

    best (dict[int, str]): the hash of the best model by the step of each evaluation.
    final (list[str]): the hashes of the best and the last model of a training without interruption.
    """

    def __init__(self, system: System, config: Path, folder: Path) -> None:
        """Train once without interruption.

        system (System): the system.
        config (Path): the config.
        folder (Path): an empty folder.
        """
        self.system = system
        self.output = folder / "output"
        self._config = config
        record = folder / "record.json"
        self._start(False, None, record).join()
        self._n_operations, began, ended, models = json.loads(record.read_text("utf8"))
        self._first, self._seconds = models[0][1] - began, ended - began
        self.best = {step: found for step, _, found in models}
        self.final = self._models()
        shutil.rmtree(self.output)

    def _start(self, resume: bool, operation: Any = None, record: Path | None = None) -> Any:
        arguments = (self.system, self._config, self.output, resume, operation, record)
        process = multiprocessing.get_context("fork").Process(target=_run, args=arguments)
        process.start()
        return process

    def _models(self) -> list[str]:
        return [digest(self.output / name) for name in ("model-best", "model-last")]

    def interrupt(self, kind: str, rng: random.Random, *, resume: bool = False) -> bool:
        """Start a training and interrupt it.

        kind (str): a key of `OPERATIONS`, or one of `SIGNALS`.
        rng (Random): chooses when.
        resume (bool): whether to go on with a training.
        RETURNS (bool): whether it was interrupted before its end.
        """
        if kind in SIGNALS:
            process = self._start(resume)
            process.join(rng.uniform(0.8 * self._first, self._seconds))
            if process.exitcode is None:
                os.kill(process.pid, getattr(signal, kind))
        else:
            at = rng.randint(1, self._n_operations)
            process = self._start(resume, (kind, at, rng.randint(0, _MAX_SIZE)))
        process.join()
        return bool(process.exitcode != 0)

    def check(self) -> str:
        """Load the best model, and compare it with those of the training without interruption.

        RETURNS (str): "the best", "none yet", or what is wrong.
        """
        best = self.output / self.system.best
        state = self.output / "checkpoint" / "training.safetensors"
        evaluated = read_progress(state)["evaluations"] if state.exists() else []
        if not best.exists():
            return "LOST" if evaluated else "none yet"
        try:
            spacy.load(best)("Ines Karlsson flew to Lisbon .")
        except Exception as error:
            return f"DOES NOT LOAD: {error}"
        # Between the model and the state, the model can be one evaluation newer.
        step = evaluated[-1]["step"] if evaluated else 0
        allowed = {found for other, found in self.best.items() if other >= step}
        return "the best" if digest(best) in allowed else "NOT THE BEST"

    def resume(self) -> bool:
        """Go on with the training to its end.

        RETURNS (bool): whether both models have the bytes of those without interruption.
        """
        self._start(True).join()
        return self._models() == self.final


def interrupt_training(
    *,
    kills: Annotated[int, typer.Option(help="Interruptions of each system.", min=1)] = 50,
    resumes: Annotated[
        int, typer.Option(help="After how many of them training goes on to its end.", min=0)
    ] = 20,
    seed: Annotated[int | None, typer.Option(help="The seed. Default: a new one.")] = None,
) -> None:
    """Interrupt trainings at random moments, and load the best model after each.

    After some, training goes on, is interrupted again in a third of the cases, and must end with
    the same bytes as without an interruption.
    """
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    typer.echo(f"seed {seed}")
    rng = random.Random(seed)
    torch.set_num_threads(1)
    rows: list[tuple[Any, ...]] = []
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        source = Path(folder) / "data.conll"
        source.write_text(_write_data(random.Random(0)), encoding="utf8")
        plan = plan_training(source, data, lang="xx", dev_share=0.3, overrides=_SETTINGS)
        config = load_config(plan.config, interpolate=False)
        checkpoints.use_checkpoints(config)
        config.to_disk(plan.config)
        # The forked processes need not import what this imports.
        _train(plan.config, Path(folder) / "imports", False)
        for system in SYSTEMS:
            place = Path(folder) / system.name.replace(" ", "-")
            place.mkdir()
            rows += _try(Trial(system, plan.config, place), rng, kills, resumes)
    counted = ("n", "best loads", "none yet", "other", "resumed", "same bytes")
    header = ("command", "interruption", *counted)
    typer.echo(table(rows, header=header, max_col=40, aligns=("l", "l", *"rrrrrr"), divider=True))


def _write_data(rng: random.Random) -> str:
    tags = ["B-PER", "O", "B-PER", "O", "B-LOC"]
    sentences = (
        "".join(f"{rng.choice(_WORDS[tag])} {tag}\n" for tag in tags[rng.randrange(4) :])
        for _ in range(100)
    )
    return "\n".join(sentences)


def _try(trial: Trial, rng: random.Random, kills: int, resumes: int) -> list[tuple[Any, ...]]:
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (*SIGNALS, *OPERATIONS)}
    kinds = itertools.cycle(counts)
    n_tried = 0
    progress = tqdm(total=kills, desc=trial.system.name, disable=None)
    while n_tried < kills:
        kind = next(kinds)
        shutil.rmtree(trial.output, ignore_errors=True)
        if not trial.interrupt(kind, rng):
            continue
        n_tried += 1
        progress.update()
        found = [trial.check()]
        if n_tried <= resumes:
            counts[kind]["resumed"] += 1
            if rng.random() < 1 / 3 and trial.interrupt(rng.choice([*counts]), rng, resume=True):
                found.append(trial.check())
            counts[kind]["same"] += trial.resume()
        for result in found:
            counts[kind][result if result in ("the best", "none yet") else "other"] += 1
            if result not in ("the best", "none yet"):
                typer.echo(f"{trial.system.name}, {kind}: {result}")
    names = ("the best", "none yet", "other", "resumed", "same")
    total: Counter[str] = sum(counts.values(), Counter())
    return [
        (
            trial.system.name,
            name,
            by["the best"] + by["none yet"] + by["other"],
            *(by[key] for key in names),
        )
        for name, by in {**counts, "all": total}.items()
    ]


def main() -> None:
    """Run the command."""
    typer.run(interrupt_training)
