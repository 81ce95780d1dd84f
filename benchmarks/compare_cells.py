"""Compare GRU and LSTM in one and in two directions: `scripts/compare_cells --help`."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import spacy
import torch
import typer
from spacy.cli._util import parse_config_overrides
from spacy.util import load_config

from bigru_tagger.files import replacing, write_json
from bigru_tagger.plots import can_plot
from bigru_tagger.scoring.run import describe_machine, package_versions

from .replication.cells import (
    BY_TORCH,
    CELLS,
    Measured,
    cells_table,
    count_parameters,
    peak_of_prediction,
    peak_of_training,
    plot_cells,
    time_cells,
    use_torch_gru,
)
from .replication.report import found_targets, score_values
from .replication.runs import make_recipe, parse_seeds, read_runs, split_source
from .speed.passages import read_passages
from .speed.prediction import FULL, QUICK, Sizes

ROOT = Path(__file__).resolve().parent.parent
REPLICATE = ROOT / "scripts" / "replicate"
QUICK_CONFIG = ROOT / "bigru_tagger" / "configs" / "sample.cfg"
QUICK_OVERRIDES = ["--training.max_steps", "60", "--training.eval_frequency", "30"]


@dataclass(frozen=True)
class Plan:
    """The settings of a comparison.

    config (Path): the config.
    settings (Mapping[str, Mapping[str, Any]]): the overrides for each kind of layer.
    seeds (str): the seeds, as for scripts/replicate.
    test (str): the test data, as for scripts/replicate.
    results (Path): the file for one line per run.
    output (Path): the folder for all other files.
    """

    config: Path
    settings: Mapping[str, Mapping[str, Any]]
    seeds: str
    test: str
    results: Path
    output: Path


def compare_cells(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG] [-- --SETTING VALUE …]",
            help="A training config. Everything after -- overrides its settings. Leave it out "
            "with --quick.",
        ),
    ] = None,
    *,
    seeds: Annotated[str, typer.Option(help="Seeds to train, such as 0-4 or 0,2,7-9.")] = "0-2",
    jobs: Annotated[int, typer.Option(help="Number of trainings at the same time.", min=1)] = 1,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA[:SPLIT]", help="Test data. Prediction is measured on them, too."
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="File for one line per run; by default runs.jsonl in --output.", dir_okay=False
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(help="Threads of torch while speed is measured.", min=1)
    ] = 1,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Quick run (some minutes) on the sample corpus, two seeds."),
    ] = False,
    output: Annotated[
        Path, typer.Option(help="Folder for models, cells.md, .json and .svg.", file_okay=False)
    ] = Path("output/cells"),
) -> None:
    """Train a config with each kind of recurrent layer, and compare scores, speed and memory.

    All layers are trained on the same data, with the same number of steps and the same seeds, by
    scripts/replicate. If the command is stopped, run it again to continue. Speed is measured after
    training, in turn. Memory is measured in a separate process for each layer.
    """
    try:
        if quick and (arguments or test is not None):
            raise ValueError("--quick runs on the sample corpus: leave out the config and --test")
        if quick:
            arguments = [str(QUICK_CONFIG), *QUICK_OVERRIDES]
            seeds, test = "0-1", "bigru_tagger/sample:test"
        if not arguments or test is None:
            raise ValueError("give a config and --test, or use --quick")
        if not can_plot():
            raise ValueError('the plot needs matplotlib: pip install "bigru-tagger[plots]"')
        config, *overrides = arguments
        settings = parse_config_overrides(list(overrides))
        base = load_config(config, overrides=settings)
        plan = Plan(
            config=Path(config),
            settings={cell.name: {**settings, **cell.overrides(base)} for cell in CELLS},
            seeds=seeds,
            test=test,
            results=results or output / "runs.jsonl",
            output=output,
        )
        for name in plan.settings:
            train(plan, name, jobs)
        torch.set_num_threads(threads)
        measured = measure(plan, QUICK if quick else FULL)
        report(measured, plan, threads)
    except subprocess.CalledProcessError as error:
        raise typer.Exit(error.returncode) from None  # scripts/replicate has printed the error
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command continues with the missing seeds.", err=True)
        raise typer.Exit(130) from None


def train(plan: Plan, name: str, jobs: int) -> None:
    """Train the missing seeds of one kind of layer, by scripts/replicate."""
    typer.echo(f"{name}:")
    command = [sys.executable, str(REPLICATE), str(plan.config), "--keep"]
    command += ["--name", name, "--seeds", plan.seeds, "--jobs", str(jobs), "--test", plan.test]
    command += ["--results", str(plan.results), "--output", str(plan.output), "--"]
    for setting, value in plan.settings[name].items():
        command += [f"--{setting}", value if isinstance(value, str) else json.dumps(value)]
    subprocess.run(command, check=True)


def measure(plan: Plan, sizes: Sizes) -> list[Measured]:
    """Measure the speed and memory of the trained models, and collect their scores."""
    data, split = split_source(plan.test)
    configs, models, runs = {}, {}, {}
    for name, settings in plan.settings.items():
        recipe = make_recipe(plan.config, settings, name=name, test=(data, split))
        configs[name] = load_config(plan.config, overrides=dict(settings))
        recorded = [run for run in read_runs(plan.results) if run.recipe.key == recipe.key]
        numbers = set(parse_seeds(plan.seeds))
        runs[name] = list({run.seed: run for run in recorded if run.seed in numbers}.values())
        folder = plan.output / f"{recipe.config}-{recipe.key}"
        models[name] = folder / f"seed-{min(numbers)}" / "model-best"
        if not models[name].is_dir():
            raise ValueError(
                f"{models[name]} no longer exists, so its speed cannot be measured. To train it "
                f"again, delete the line of this seed in {plan.results}"
            )
    sentences_per_doc = next(iter(configs.values()))["corpora"]["dev"].get("sentences_per_doc")
    first = next(iter(configs))
    passages = read_passages(
        data, split=split, sentences_per_doc=sentences_per_doc, limit=sizes.words
    )
    training, prediction = time_cells(
        {**configs, BY_TORCH: configs[first]},
        models,
        passages,
        sizes.rounds,
        train_words=sizes.train_words,
        prepare={BY_TORCH: use_torch_gru},
    )
    (target, _), *_ = found_targets([run for of_one in runs.values() for run in of_one]).items()
    measured = []
    *of_kinds, by_torch = training
    for name, trained, predicted in zip(plan.settings, of_kinds, prediction, strict=True):
        all_parameters, recurrent = count_parameters(spacy.load(models[name]))
        measured.append(
            Measured(
                name=name,
                parameters=all_parameters,
                recurrent=recurrent,
                training=trained,
                prediction=predicted,
                training_mebibytes=peak_of_training(configs[name], sizes.train_words),
                prediction_mebibytes=peak_of_prediction(models[name], passages),
                dev=score_values(runs[name], "dev", target),
                test=score_values(runs[name], "test", target),
            )
        )
    again = replace(
        measured[0],
        name=BY_TORCH,
        training=by_torch,
        prediction=None,
        training_mebibytes=None,
        prediction_mebibytes=None,
        dev=(),
        test=(),
    )
    return [*measured, again]


def report(measured: Sequence[Measured], plan: Plan, threads: int) -> None:
    """Print the table, and write the table, all numbers and a plot."""
    about = {
        "machine": describe_machine(threads),
        "versions": package_versions(),
        "command": shlex.join(sys.argv),
    }
    text = cells_table(measured)
    typer.echo(f"\n{text}")
    with replacing(plan.output / "cells.md") as file:
        file.write(f"{text}\n")
    content = {"about": about, "cells": [asdict(each) for each in measured]}
    write_json(plan.output / "cells.json", content)
    plot_cells(measured, plan.output / "cells.svg")
    typer.echo(f"\nWritten to {plan.output}")


def main() -> None:
    """Run the command line. SIGTERM stops the trainings, like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.run(compare_cells)


if __name__ == "__main__":
    main()
