"""Train and score the seeds of a recipe, each in processes of its own."""

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
PATIENCE_SECONDS = 10.0  # between asking a process to end and killing it
TAIL_LINES = 15
SCORE_ROW = re.compile(r"\s*\d+\s+\d+\s+[-\w.\s]+")


class RunError(Exception):
    """A run that failed; the message gives the reason and the path of its log."""


@dataclass(frozen=True)
class Plan:
    """Settings of all runs of one call.

    config (Path): the config.
    overrides (list[str]): arguments for `spacy train`.
    recipe (Recipe): the two, described.
    max_steps (int): the config's.
    test (tuple[str, str] | None): test data and split.
    folder (Path): where each run has a folder.
    keep (bool): leave the models there.
    gpu_id (int): spaCy's number of the GPU, -1 for none.
    cores (SimpleQueue[int | None]): a core for each of the runs side by side, `None` for any.
    threads (int | None): for each run; `None` leaves that to torch.
    stop (Event): set when all is to end.
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
    """Train the seeds that have no line yet, and write one for each.

    plan (Plan): what they share.
    seeds (Sequence[int]): which.
    jobs (int): how many side by side.
    results (Path): the file of results.
    RETURNS (int): how many failed.
    """
    done = {run.seed: run for run in read_runs(results) if run.recipe.key == plan.recipe.key}
    for seed in seeds:
        if seed in done:
            run = done[seed]
            changed = run.versions.get("source") != source_fingerprint()
            note = "; the code has changed since: delete the line to train it again"
            tqdm.write(
                f"seed {seed}: done before as “{run.recipe.name}”, in {results}"
                f"{note if changed else ''}"
            )
    failed = 0
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(run_seed, plan, seed): seed for seed in seeds if seed not in done}
        for future in as_completed(futures):
            # Whatever it is that one run died of, the others go on.
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

    plan (Plan): what it shares with others.
    seed (int): the seed.
    RETURNS (Run): the scores and what belongs to them.
    RAISES (RunError): it failed, or was stopped.
    """
    folder = plan.folder / f"seed-{seed}"
    models = [folder / "model-best", folder / "model-last"]
    log, history, evaluation = (folder / name for name in ("log.txt", "steps.jsonl", "test.json"))
    # What was trained to its end stays, should something go wrong behind that.
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
    """Run Python in a process of its own, until it ends or all is to stop.

    arguments (Sequence[str]): for Python.
    log (Path): what it prints is added to this file.
    plan (Plan): threads, and whether to stop.
    core (int | None): the core to run on.
    watch (Callable[[], object]): called now and then.
    RAISES (RunError): it failed, or was stopped.
    """
    if plan.stop.is_set():
        raise RunError("stopped before it began")
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
            # Before it has threads, which would keep the cores they began with.
            os.sched_setaffinity(process.pid, {core})
        while process.poll() is None and not plan.stop.wait(POLL_SECONDS):
            watch()
    finally:
        end(process)
    if process.returncode:
        lines = log.read_text(encoding="utf8", errors="replace").splitlines()[-TAIL_LINES:]
        raise RunError(
            f"ended with status {process.returncode}. Its log is {log}, which ends in\n"
            + "\n".join(f"    {line}" for line in lines)
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and kill it if it does not."""
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show_progress(bar: "tqdm[Any]", log: Path) -> None:
    """Show the last row of scores that `spacy train` has printed."""
    lines = log.read_text(encoding="utf8", errors="replace").splitlines()
    rows = [line.split() for line in lines if SCORE_ROW.fullmatch(line)]
    if rows:
        bar.n = int(rows[-1][1])
        bar.set_postfix_str(" ".join(rows[-1]))


def choose_cores(jobs: int) -> "SimpleQueue[int | None]":
    """Choose a core for each job where there are several jobs and the system (Linux) can do it.

    jobs (int): how many.
    RETURNS (SimpleQueue[int | None]): as many cores, or `None`s.
    RAISES (ValueError): there are fewer cores than jobs.
    """
    cores: SimpleQueue[int | None] = SimpleQueue()
    chosen: list[int | None] = [None] * jobs
    if jobs > 1 and hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        if jobs > len(usable):
            raise ValueError(f"--jobs {jobs}: this process may use {len(usable)} cores")
        chosen = [*usable[:jobs]]
    for core in chosen:
        cores.put(core)
    return cores


def describe(run: Run) -> str:
    """Summarize a run in a line."""
    parts = []
    for side, scores in (("dev", run.dev), ("test", run.test or {})):
        for target, numbers in scores.items():
            score = numbers["accuracy"] if target == "tags" else numbers["f"]
            parts.append(f"{side} {target} {100 * score:.2f}")
    return f"{', '.join(parts)} ({run.seconds:.0f} s, best at step {run.best_step})"


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf8"))
