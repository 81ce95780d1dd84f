"""Measure F1 by the number of training sentences, for `bigru_ner` and spaCy's `ner`.

    scripts/learning_curve conll2003 wnut_17 --vectors en_core_web_md

The configs are those of `spacy init config`, except for the paths, the seed, and the number of
steps if `--max-steps` is set. All systems get the same sentences: the first of the shuffled
training split. The shuffle depends only on the seed. The best model is chosen on a sample of the
validation split. It is scored once on the test split, by seqeval in its strict mode, with one
sentence per Doc.
"""

import random
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from os import environ
from pathlib import Path
from shutil import rmtree
from typing import Annotated, NamedTuple

import spacy
import typer
from spacy.cli.init_config import init_config
from spacy.cli.train import train
from spacy.tokens import DocBin
from tqdm import tqdm

from bigru_tagger.corpus.corpus import open_corpus
from bigru_tagger.files import atomic_path
from bigru_tagger.markdown import markdown_table
from bigru_tagger.plots import save_figure
from bigru_tagger.scoring.run import evaluate

from .replication.report import (
    mean_cell,
    paired_difference_cell,
    replace_block,
    score_values,
)
from .replication.runs import (
    Recipe,
    Run,
    append_run,
    choose_part,
    collect_run,
    make_recipe,
    parse_seeds,
    read_runs,
    source_fingerprint,
)


class System(NamedTuple):
    """A system to train.

    name (str): the name in the results.
    factory (str): the factory of the component.
    optimize (str): the preset of `spacy init config`; "accuracy" uses word vectors.
    """

    name: str
    factory: str
    optimize: str


SYSTEMS = (
    System("bigru_ner", "bigru_ner", "efficiency"),
    System("ner", "ner", "efficiency"),
    System("bigru_ner with vectors", "bigru_ner", "accuracy"),
    System("ner with vectors", "ner", "accuracy"),
)
DATA_SEED = 0  # of the sample of the validation split


@dataclass(frozen=True)
class Job:
    """One training.

    recipe (Recipe): the recipe, which is the same for all seeds.
    config (Path): the config.
    seed (int): the seed of the training, and of the choice of sentences.
    train, dev, test (Path): the data, as `.spacy` files.
    folder (Path): the folder for models and logs.
    """

    recipe: Recipe
    config: Path
    seed: int
    train: Path
    dev: Path
    test: Path
    folder: Path


def learning_curve(
    data: Annotated[
        list[str], typer.Argument(help="Data sets with the splits train, validation and test.")
    ],
    *,
    vectors: Annotated[
        str | None, typer.Option(help="A pipeline with word vectors; by default, none are used.")
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="Numbers of sentences; at most all of the training split.")
    ] = "50,100,250,500,1000,5000",
    seeds: Annotated[str, typer.Option(help="Seeds, such as 0-2 or 0,2,7-9.")] = "0-2",
    systems: Annotated[
        str | None,
        typer.Option(help=f"Systems, separated by commas: {', '.join(s.name for s in SYSTEMS)}."),
    ] = None,
    dev: Annotated[
        int, typer.Option(help="Sentences of the validation split; 0 for all.", min=0)
    ] = 500,
    max_steps: Annotated[
        int | None, typer.Option(help="Steps of each training; by default those of the presets.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Number of trainings at the same time, one core each.", min=1)
    ] = 1,
    shard: Annotated[str, typer.Option(help="Part i of n of the trainings, as i/n.")] = "1/1",
    results: Annotated[
        Path,
        typer.Option(
            help="File for one line per training; trainings with a line are not repeated."
        ),
    ] = Path("results/learning_curve.jsonl"),
    output: Annotated[Path, typer.Option(help="Folder for data and logs.")] = Path(
        "output/learning_curve"
    ),
    table: Annotated[
        bool, typer.Option("--table", help="Only print the table of results, without training.")
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="With --table: the file to write the table to.", dir_okay=False),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="With --table: the image to draw.", dir_okay=False)
    ] = None,
) -> None:
    """Train `bigru_ner` and spaCy's `ner` on rising numbers of sentences, and compare their F1."""
    if not table:
        found = [system for system in SYSTEMS if vectors or system.optimize == "efficiency"]
        if systems is not None:
            found = [system for system in found if system.name in systems.split(",")]
        numbers = [int(size) for size in sizes.split(",")]
        planned = [
            job
            for source in data
            for job in plan(
                source,
                found,
                numbers,
                parse_seeds(seeds),
                vectors=vectors,
                dev=dev,
                max_steps=max_steps,
                folder=output,
            )
        ]
        # The smallest first, and all systems with the same data together.
        planned.sort(key=lambda job: (_size(job.recipe), job.seed, job.recipe.config))
        run_all(choose_part(planned, shard), jobs, results)
    runs = [run for run in read_runs(results) if _data(run.recipe) in map(_name, data)]
    if into is not None:
        replace_block(into, results.stem, curve_table(runs))
    else:
        typer.echo(curve_table(runs))
    if plot is not None:
        plot_curve(runs, plot)


def plan(
    source: str,
    systems: Sequence[System],
    sizes: Sequence[int],
    seeds: Sequence[int],
    *,
    vectors: str | None,
    dev: int,
    max_steps: int | None,
    folder: Path,
) -> list[Job]:
    """Write data and configs, and list the trainings.

    source (str): the data set.
    systems (Sequence[System]): the systems to train.
    sizes (Sequence[int]): numbers of sentences, limited to the size of the training split.
    seeds (Sequence[int]): the seeds.
    vectors (str | None): a pipeline with word vectors.
    dev (int): number of sentences of the validation split; 0 for all.
    max_steps (int | None): steps of each training; `None` for those of the preset.
    folder (Path): the folder for data, configs and logs.
    RETURNS (list[Job]): the trainings.
    """
    nlp = spacy.blank("en")
    sentences = {
        split: [example.reference for example in open_corpus(source, split=split)(nlp)]
        for split in ("train", "validation", "test")
    }
    name, n_train = _name(source), len(sentences["train"])
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    chosen = _shuffled(sentences["validation"], DATA_SEED)[: dev or None]
    dev_file = _write(chosen, data / f"{name}-validation-{len(chosen)}.spacy")
    test_file = _write(sentences["test"], data / f"{name}-test.spacy")
    jobs = []
    for size in sorted({min(size, n_train) for size in sizes}):
        recipes = {}
        for system in systems:
            config = init_config(lang="en", pipeline=[system.factory], optimize=system.optimize)
            with_vectors = system.optimize == "accuracy"
            config["paths"] |= {"train": None, "dev": None, "vectors": None}
            config["paths"]["vectors"] = vectors if with_vectors else None
            if max_steps is not None:
                config["training"]["max_steps"] = max_steps
            place = folder / f"{system.factory}-{system.optimize}" / f"{name}-{size}.cfg"
            place.parent.mkdir(parents=True, exist_ok=True)
            config.to_disk(place)
            test = (source, f"test, dev {len(chosen)}")
            recipes[place] = make_recipe(place, {}, name=system.name, test=test)
        for seed in seeds:
            file = data / f"{name}-train-{size}-{seed}.spacy"
            _write(_shuffled(sentences["train"], seed)[:size], file)
            jobs += [
                Job(
                    recipe,
                    config,
                    seed,
                    file,
                    dev_file,
                    test_file,
                    config.with_suffix("") / str(seed),
                )
                for config, recipe in recipes.items()
            ]
    return jobs


def _shuffled(docs: Sequence[spacy.tokens.Doc], seed: int) -> list[spacy.tokens.Doc]:
    return random.Random(seed).sample(docs, len(docs))


def _write(docs: Iterable[spacy.tokens.Doc], path: Path) -> Path:
    with atomic_path(path) as place:
        DocBin(docs=docs).to_disk(place)
    return path


def run_all(jobs: Sequence[Job], n_processes: int, results: Path) -> None:
    """Run the trainings that have no line in the results.

    jobs (Sequence[Job]): the trainings, in their order.
    n_processes (int): number of trainings at the same time.
    results (Path): the file of results; each training adds a line at its end.
    RAISES (SystemExit): some trainings failed; the others are done.
    """
    done = {_identity(run.recipe, run.seed) for run in read_runs(results)}
    missing = [job for job in jobs if _identity(job.recipe, job.seed) not in done]
    environ["OMP_NUM_THREADS"] = "1"
    failed = 0
    with (
        ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(missing), unit=" trainings", disable=None) as bar,
    ):
        futures = {pool.submit(run_job, job): job for job in missing}
        for future in as_completed(futures):
            job = futures[future]
            label = f"{job.recipe.config}, {job.recipe.name}, seed {job.seed}"
            error = future.exception()
            if error is None:
                run = future.result()
                append_run(results, run)
                (score,) = score_values([run], "test", "entities")
                tqdm.write(f"{label}: test F1 {score:.2f} ({run.seconds:.0f} s, {run.steps} steps)")
            else:
                failed += 1
                tqdm.write(f"Error: {label}: {error!r}: see {job.folder}/log.txt", file=sys.stderr)
            bar.update()
    if failed:
        raise SystemExit(f"{failed} trainings failed")


def run_job(job: Job) -> Run:
    """Train and score one model.

    job (Job): the training.
    RETURNS (Run): the scores.
    """
    rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    history = job.folder / "steps.jsonl"
    overrides = {
        "paths.train": str(job.train),
        "paths.dev": str(job.dev),
        "system.seed": job.seed,
        "training.logger": {"@loggers": "spacy.ConsoleLogger.v3", "output_file": str(history)},
    }
    source = source_fingerprint()
    with (job.folder / "log.txt").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        start = time.perf_counter()
        train(job.config, job.folder, overrides=overrides)
        seconds = time.perf_counter() - start
        nlp = spacy.load(job.folder / "model-best")
        examples = list(spacy.training.Corpus(job.test)(nlp))
        evaluation = evaluate(nlp, examples).to_json()
    run = collect_run(
        job.recipe,
        job.seed,
        model=job.folder / "model-best",
        history=history,
        evaluation=evaluation,
        seconds=seconds,
        threads=1,
        source=source,
    )
    for model in job.folder.glob("model-*"):
        rmtree(model)
    return run


def curve_table(runs: Sequence[Run]) -> str:
    """Format results as a Markdown table, with one row per number of sentences.

    runs (Sequence[Run]): the trainings.
    RETURNS (str): the lines of the table, with test F1 as mean ± standard deviation over seeds.
        Both systems of a seed have the same sentences, so the differences, with their 95 %
        intervals, are those of the seeds that both have.
    """
    header = ["data", "sentences", "seeds"]
    for ours, other in _pairs():
        header += [ours.name, other.name, "difference"]
    rows = []
    points = {(_data(run.recipe), _size(run.recipe)) for run in runs}
    for data, size in sorted(points):
        at = [run for run in runs if (_data(run.recipe), _size(run.recipe)) == (data, size)]
        seeds = {run.seed for run in at}
        cells = [data, f"{size:,}", str(len(seeds))]
        for ours, other in _pairs():
            values, baseline = _scores(at, ours.name), _scores(at, other.name)
            cells += [
                mean_cell([*values.values()]),
                mean_cell([*baseline.values()]),
                paired_difference_cell(values, baseline),
            ]
        rows.append(cells)
    return markdown_table(header, rows, "lrrl")


def plot_curve(runs: Sequence[Run], path: Path) -> None:
    """Draw test F1 by the number of sentences, with one panel per data set.

    runs (Sequence[Run]): the trainings.
    path (Path): the image, .svg or .png, written atomically.
    RAISES (OSError): the image cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency

    sets = sorted({_data(run.recipe) for run in runs})
    figure = Figure(figsize=(4.5 * len(sets), 3.6), layout="constrained", facecolor="white")
    for axes, data in zip(figure.subplots(1, len(sets), squeeze=False).flat, sets, strict=True):
        of_data = [run for run in runs if _data(run.recipe) == data]
        sizes = sorted({_size(run.recipe) for run in of_data})
        for system in SYSTEMS:
            points = []
            for size in sizes:
                at = [run for run in of_data if _size(run.recipe) == size]
                values = _scores(at, system.name).values()
                if values:
                    points.append((size, sum(values) / len(values), min(values), max(values)))
            if not points:
                continue
            x, mean, low, high = zip(*points, strict=True)
            ours = system.factory == "bigru_ner"
            style = {"color": "#0072b2" if ours else "#9a9a9a"}
            solid = "-o" if system.optimize == "efficiency" else "--s"
            axes.plot(x, mean, solid, markersize=4, label=system.name, **style)
            axes.fill_between(x, low, high, alpha=0.15, **style)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("training sentences")
        axes.set_title(data, loc="left", fontsize="medium")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", frameon=False)
    figure.axes[0].set_ylabel("test F1")
    save_figure(figure, path)


def _pairs() -> list[tuple[System, System]]:
    return [
        (ours, other)
        for ours in SYSTEMS
        for other in SYSTEMS
        if ours.optimize == other.optimize and (ours.factory, other.factory) == ("bigru_ner", "ner")
    ]


def _scores(runs: Iterable[Run], name: str) -> dict[int, float]:
    # The test F1 of a system by seed.
    of_system = [run for run in runs if run.recipe.name == name]
    scores = score_values(of_system, "test", "entities")
    return dict(zip((run.seed for run in of_system), scores, strict=True))


def _name(source: str) -> str:
    return Path(source).name.replace("-", "_")


def _data(recipe: Recipe) -> str:
    return recipe.config.rpartition("-")[0]


def _size(recipe: Recipe) -> int:
    return int(recipe.config.rpartition("-")[2])


def _identity(recipe: Recipe, seed: int) -> tuple[str, str, str, int]:
    return recipe.config, recipe.name, recipe.key, seed


def main() -> None:
    """Run the command line."""
    typer.run(learning_curve)


if __name__ == "__main__":
    main()
