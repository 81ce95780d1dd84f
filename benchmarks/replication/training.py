"""Train and score the seeds of a recipe, each in separate processes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

from tqdm import tqdm

from bigru_tagger.files import atomic_path

from .runs import Recipe, Run, append_run, collect_run, read_runs, source_fingerprint

EVALUATE = Path(__file__).resolve().parents[2] / "scripts" / "evaluate.py"
POLL_SECONDS = 0.3
PATIENCE_SECONDS = 10.0  # between terminating and killing a process
TAIL_LINES = 15
SCORE_ROW = re.compile(r"\s*\d+\s+\d+\s+[-\w.\s]+")


class RunError(Exception):
    """A run that failed; the message gives the reason and the path of its log."""


@dataclass(frozen=True)
class Plan:
    """The settings of all runs of one command.

    config (Path): the config.
    overrides (list[str]): arguments for `spacy train`.
    recipe (Recipe): the description of config, overrides and data.
    max_steps (int): the setting `training.max_steps` of the config.
    test (tuple[str, str] | None): test data and split; `None` without test data.
    folder (Path): the parent of the folders of all runs.
    keep (bool): whether to keep the models.
    gpu_id (int): the number of the GPU; -1 for none.
    cores (SimpleQueue[int | None]): a core for each run at the same time; `None` for any core.
    threads (int | None): number of threads of each run; `None` for torch's default.
    stop (Event): set to stop all runs.
    """

    config: Path
    overrides: list[str]
    recipe: Recipe
    max_steps: int
    test: tuple[str, str] | None
    folder: Path
    keep: bool
    gpu_id: int
    cores: "SimpleQueue[int | None]"
    threads: int | None
    stop: Event = field(default_factory=Event)


def train_seeds(plan: Plan, seeds: Sequence[int], jobs: int, results: Path) -> int:
    """Train the seeds that have no line in the results, and append a line for each.

    plan (Plan): the settings of all runs.
    seeds (Sequence[int]): the seeds.
    jobs (int): number of runs at the same time.
    results (Path): the file of results.
    RETURNS (int): number of failed runs.
    """
    done = {run.seed: run for run in read_runs(results) if run.recipe.key == plan.recipe.key}
    for seed in seeds:
        if seed in done:
            run = done[seed]
            changed = run.versions.get("source") != source_fingerprint()
            note = ". The code has changed since then; to train it again, delete the line"
            tqdm.write(
                f"seed {seed}: already in {results} as “{run.recipe.name}”{note if changed else ''}"
            )
    failed = 0
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(run_seed, plan, seed): seed for seed in seeds if seed not in done}
        for future in as_completed(futures):
            # An error of any kind ends only its own run.
            error = future.exception()
            if error is None:
                run = future.result()
                append_run(results, run)
                tqdm.write(f"seed {run.seed}: {describe(run)}")
            else:
                failed += 1
                tqdm.write(f"Error: seed {futures[future]}: {error}", file=sys.stderr)
    finally:
        plan.stop.set()
        pool.shutdown(cancel_futures=True)
    return failed


def run_seed(plan: Plan, seed: int) -> Run:
    """Train one seed, and score its best model.

    plan (Plan): the settings of all runs.
    seed (int): the seed.
    RETURNS (Run): the result.
    RAISES (RunError): the run failed, or was stopped.
    """
    folder = plan.folder / f"seed-{seed}"
    models = [folder / "model-best", folder / "model-last"]
    log, history, evaluation = (folder / name for name in ("log.txt", "steps.jsonl", "test.json"))
    # Marks a completed training, so that it is not repeated if the evaluation fails.
    trained = folder / "trained.json"
    source = source_fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    core = plan.cores.get()
    try:
        if not trained.is_file() or read_json(trained)["source"] != source:
            for model in models:
                shutil.rmtree(model, ignore_errors=True)
            for file in (log, history, evaluation, trained):
                file.unlink(missing_ok=True)
            logger = {"@loggers": "spacy.ConsoleLogger.v3", "output_file": str(history)}
            train = ["-m", "spacy", "train", str(plan.config), "--output", str(folder)]
            train += ["--gpu-id", str(plan.gpu_id), *plan.overrides, "--system.seed", str(seed)]
            train += ["--training.logger", json.dumps(logger)]
            with tqdm(
                total=plan.max_steps or None, desc=f"seed {seed}", leave=False, disable=None
            ) as bar:
                start = time.perf_counter()
                execute(train, log, plan, core, lambda: show_progress(bar, log))
                seconds = time.perf_counter() - start
            with atomic_path(trained) as place:
                place.write_text(json.dumps({"seconds": seconds, "source": source}))
        seconds = read_json(trained)["seconds"]
        if plan.test is not None:
            data, split = plan.test
            score = [str(EVALUATE), str(models[0]), data, "--split", split]
            score += ["--json", str(evaluation), "--gpu-id", str(plan.gpu_id)]
            execute(score, log, plan, core)
    finally:
        plan.cores.put(core)
    run = collect_run(
        plan.recipe,
        seed,
        model=models[0],
        history=history,
        evaluation=None if plan.test is None else read_json(evaluation),
        seconds=seconds,
        threads=plan.threads,
        source=source,
    )
    trained.unlink()
    if not plan.keep:
        for model in models:
            shutil.rmtree(model)
    return run


def execute(
    arguments: Sequence[str],
    log: Path,
    plan: Plan,
    core: int | None,
    watch: Callable[[], object] = lambda: None,
) -> None:
    """Run Python in a separate process, until it ends or `plan.stop` is set.

    arguments (Sequence[str]): arguments for Python.
    log (Path): the file that the output is appended to.
    plan (Plan): the settings of all runs.
    core (int | None): the core to run on; `None` for any.
    watch (Callable[[], object]): a function to call every POLL_SECONDS.
    RAISES (RunError): the process failed, or was stopped.
    """
    if plan.stop.is_set():
        raise RunError("stopped before the start")
    command = [sys.executable, *arguments]
    environment = dict(os.environ)
    if plan.threads is not None:
        environment["OMP_NUM_THREADS"] = str(plan.threads)
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
        )
    try:
        if core is not None:
            # As early as possible: threads that exist already would keep their cores.
            os.sched_setaffinity(process.pid, {core})
        while process.poll() is None and not plan.stop.wait(POLL_SECONDS):
            watch()
    finally:
        end(process)
    if process.returncode:
        lines = log.read_text(encoding="utf8", errors="replace").splitlines()[-TAIL_LINES:]
        raise RunError(
            f"ended with status {process.returncode}. The last lines of its log, {log}:\n"
            + "\n".join(f"    {line}" for line in lines)
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process, and kill it if it is still running after PATIENCE_SECONDS."""
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show_progress(bar: "tqdm[Any]", log: Path) -> None:
    """Show the last row of scores in the log of `spacy train`."""
    lines = log.read_text(encoding="utf8", errors="replace").splitlines()
    rows = [line.split() for line in lines if SCORE_ROW.fullmatch(line)]
    if rows:
        bar.n = int(rows[-1][1])
        bar.set_postfix_str(" ".join(rows[-1]))


def choose_cores(jobs: int) -> "SimpleQueue[int | None]":
    """Choose a core for each job.

    jobs (int): number of jobs.
    RETURNS (SimpleQueue[int | None]): one core per job; `None` for one job, and on systems that
        cannot pin processes to cores (all except Linux).
    RAISES (ValueError): there are fewer cores than jobs.
    """
    cores: SimpleQueue[int | None] = SimpleQueue()
    chosen: list[int | None] = [None] * jobs
    if jobs > 1 and hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        if jobs > len(usable):
            raise ValueError(f"--jobs {jobs}: this process can use only {len(usable)} cores")
        chosen = [*usable[:jobs]]
    for core in chosen:
        cores.put(core)
    return cores


def describe(run: Run) -> str:
    """Summarise a run in one line."""
    parts = []
    for side, scores in (("dev", run.dev), ("test", run.test or {})):
        for target, numbers in scores.items():
            score = numbers["accuracy"] if target == "tags" else numbers["f"]
            parts.append(f"{side} {target} {100 * score:.2f}")
    return f"{', '.join(parts)} ({run.seconds:.0f} s, best at step {run.best_step})"


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf8"))
