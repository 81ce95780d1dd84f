"""Measure the speed of prediction and training, side by side: `scripts/benchmark --help`."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Sized
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from spacy.cli._util import parse_config_overrides
from spacy.language import Language

from bigru_tagger.files import replacing, write_json
from bigru_tagger.plots import can_plot
from bigru_tagger.scoring.run import describe_machine, package_versions

from .speed.external import ExternalTagger, parse_external
from .speed.memory import measure_memory
from .speed.passages import Passage, first_words, read_passages, short_text
from .speed.plot import plot_benchmark
from .speed.prediction import (
    FULL,
    QUICK,
    Sizes,
    System,
    load_system,
    measure_latency,
    measure_lengths,
    measure_prediction,
    parse_system,
    shapes,
)
from .speed.report import Benchmark, read_benchmark, render_benchmark
from .speed.roofline import measure_roofline
from .speed.stages import measure_stages
from .speed.timing import Clock
from .speed.training import measure_training, parse_training, read_configs

SECTIONS = ("prediction", "latency", "stages", "roofline", "lengths", "memory", "training")
THREADS = "OMP_NUM_THREADS"


def benchmark(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA [-- --SETTING VALUE …]",
            help="Data as for `bigru-tagger evaluate`. Everything after -- overrides settings of "
            "the configs to train: --SETTING in all configs that have it, --NAME.SETTING in one.",
        ),
    ] = None,
    *,
    measured_before: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="The benchmark.json of an earlier run. Its tables are printed again.",
            dir_okay=False,
            exists=True,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="The split of a dataset.")] = "test",
    sentences_per_doc: Annotated[
        int | None,
        typer.Option(
            "--sentences-per-doc",
            "--n-sents",
            help="Sentences per Doc; 0 for whole documents.",
            min=0,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PIPELINE[:COMPONENTS]",
            help="A pipeline, and the components to run, separated by commas; repeatable.",
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND",
            help="A tagger outside spaCy, for prediction and latency. The command must answer like "
            "`scripts/flair_tagger serve`; repeatable.",
        ),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=CONFIG", help="A config to train; repeatable."),
    ] = None,
    from_step: Annotated[
        int,
        typer.Option(
            help="Batches to skip in training, because batches of spaCy's presets grow at first.",
            min=0,
        ),
    ] = 2000,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="The system to compare the others with.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Timed runs of each system; at least 5, except with --quick.", min=1),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(help=f"Threads of torch. NumPy uses one, unless {THREADS} is set.", min=1),
    ] = 1,
    processes: Annotated[
        int,
        typer.Option(help="Predict with this number of processes, too, by `n_process`.", min=1),
    ] = 1,
    cpu_time: Annotated[
        bool,
        typer.Option(
            "--cpu-time",
            help="Measure the CPU time of this process, not wall time. For a busy machine.",
        ),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help=f"Sections to measure, separated by commas: {','.join(SECTIONS)}."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Quick run (about a minute) on little data, two rounds.")
    ] = False,
    output: Annotated[
        Path, typer.Option(help="Folder for benchmark.md, .json and .svg.", file_okay=False)
    ] = Path("output/benchmark"),
) -> None:
    """Measure the speed of prediction and training, side by side in one run.

    Systems take turns, and the tables show medians. The tables are printed as Markdown. Tables, all
    times and a plot are written to --output.
    """
    try:
        if measured_before is not None:
            write(read_benchmark(measured_before), output)
            return
        if not arguments:
            raise ValueError("There are no data to measure on: give DATA, or --from FILE")
        data, *overrides = arguments
        torch.set_num_threads(threads)
        sizes = QUICK if quick else FULL
        if rounds is not None and rounds < FULL.rounds and not quick:
            raise ValueError(
                f"--rounds {rounds}: use at least {FULL.rounds} rounds, or --quick for a test"
            )
        rounds = rounds or sizes.rounds
        if cpu_time and (peer or processes > 1):
            raise ValueError("--cpu-time excludes other processes: leave out --peer or --processes")
        clock = time.process_time if cpu_time else time.perf_counter
        systems = by_name("--model", [(s.name, s) for s in map(parse_system, model or [])])
        commands = by_name("--peer", [(p.name, p) for p in map(parse_external, peer or [])])
        configs = by_name("--train", [parse_training(text) for text in train or []])
        names = [*systems, *commands, *configs]
        sections = choose_sections(only, systems, commands, configs)
        if baseline is not None and baseline not in names:
            raise ValueError(
                f"--baseline {baseline}: no such system; the systems are {', '.join(names)}"
            )
        if overrides and not configs:
            raise ValueError(
                "Arguments after -- override settings of a config: give --train NAME=CONFIG"
            )
        trained = read_configs(configs, parse_config_overrides(list(overrides)))
        passages = read_passages(
            data, split=split, sentences_per_doc=sentences_per_doc, limit=sizes.words
        )
        pipelines = {name: load_system(system) for name, system in systems.items()}
        about = describe(threads, rounds, f"{data} (split {split})", passages, systems)
        about["times"] = "CPU time of this process" if cpu_time else "wall time"
        # First, because errors in a config or its data appear only here.
        measured: dict[str, Any] = {}
        if "training" in sections:
            measured["training"] = measure_training(
                trained, rounds, n_words=sizes.train_words, from_step=from_step, clock=clock
            )
            about["training"] = f"from step {from_step:,}"
        with ExitStack() as running:
            external = {
                name: running.enter_context(ExternalTagger(command, threads))
                for name, command in commands.items()
            }
            about |= {name: own.about for name, own in external.items()}
            measured |= measure_predicting(
                sections,
                systems=systems,
                pipelines=pipelines,
                external=external,
                passages=passages,
                sizes=sizes,
                rounds=rounds,
                threads=threads,
                processes=processes,
                clock=clock,
            )
        write(Benchmark(about, baseline, **measured), output)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def by_name(option: str, named: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary by name. RAISES (ValueError): two entries have the same name."""
    found = dict(named)
    if len(found) < len(named):
        names = [name for name, _ in named]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{option} {twice}: this name is used twice")
    return found


def choose_sections(only: str | None, systems: Sized, commands: Sized, configs: Sized) -> list[str]:
    """List the sections to measure.

    only (str | None): names of sections, separated by commas; `None` for all possible sections.
    systems, commands, configs (Sized): pipelines, external taggers, and configs to train.
    RETURNS (list[str]): the names of the sections.
    RAISES (ValueError): an unknown section, or one that needs another option.
    """
    measurable = dict.fromkeys(SECTIONS, len(systems))
    measurable["training"] = len(configs)
    for name in ("prediction", "latency"):
        measurable[name] += len(commands)
    possible = [name for name in SECTIONS if measurable[name]]
    if not possible:
        raise ValueError("There are no systems to measure: give --model NAME=PIPELINE")
    sections = possible if only is None else only.split(",")
    for section in sections:
        if section not in SECTIONS:
            raise ValueError(f"--only {section}: the sections are {', '.join(SECTIONS)}")
        if section not in possible:
            needed = "--train NAME=CONFIG" if section == "training" else "--model NAME=PIPELINE"
            raise ValueError(f"--only {section}: this needs {needed}")
    return sections


def measure_predicting(
    sections: list[str],
    *,
    systems: dict[str, System],
    pipelines: dict[str, Language],
    external: dict[str, ExternalTagger],
    passages: list[Passage],
    sizes: Sizes,
    rounds: int,
    threads: int,
    processes: int = 1,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Measure the sections on prediction.

    sections (list[str]): the names of the sections.
    systems (dict[str, System]): the descriptions of the pipelines.
    pipelines (dict[str, Language]): the pipelines.
    external (dict[str, ExternalTagger]): taggers outside spaCy.
    passages (list[Passage]): the data.
    sizes (Sizes): the amounts to measure.
    rounds (int): number of timed rounds.
    threads (int): number of torch's threads.
    processes (int): see `measure_prediction`.
    clock (Clock): the clock.
    RETURNS (dict[str, Any]): the arguments for `Benchmark`.
    """
    everything: dict[str, Language | ExternalTagger] = {**pipelines, **external}
    measures: dict[str, Callable[[], Any]] = {
        "prediction": lambda: measure_prediction(
            everything, passages, rounds, processes=processes, clock=clock
        ),
        "latency": lambda: measure_latency(
            everything, short_text(passages), sizes.calls, clock=clock
        ),
        "stages": lambda: measure_stages(pipelines, passages, rounds),
        "roofline": lambda: measure_roofline(
            pipelines,
            list(first_words(passages, sizes.roofline_words)),
            rounds,
            matrix=sizes.matrix,
            clock=clock,
        ),
        "lengths": lambda: measure_lengths(pipelines, passages, shapes(sizes), rounds, clock=clock),
        "memory": lambda: measure_memory(systems.values(), passages, sizes, threads),
    }
    return {name: measure() for name, measure in measures.items() if name in sections}


def describe(
    threads: int, rounds: int, data: str, passages: list[Passage], systems: dict[str, System]
) -> dict[str, str]:
    """Describe the machine, the data and the systems."""
    machine = describe_machine()
    versions = package_versions()
    n_words = sum(map(len, passages))
    about = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": f"`{shlex.join(sys.argv)}`",
        "machine": f"{machine['cpu']}, {os.cpu_count()} cores",
        "threads": f"{threads} ({THREADS}={os.environ.get(THREADS, 'not set')})",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "data": f"{data}: {n_words:,} words in {len(passages):,} Docs",
        "rounds": str(rounds),
    }
    for name, system in systems.items():
        kept = "" if system.keep is None else f", only {', '.join(system.keep)}"
        about[name] = f"{system.pipeline}{kept}"
    return about


def write(result: Benchmark, output: Path) -> None:
    """Print the tables of a benchmark, and write its files to a folder."""
    text = render_benchmark(result)
    typer.echo(text)
    paths = [output / f"benchmark.{ending}" for ending in ("md", "json", "svg")]
    with replacing(paths[0]) as file:
        file.write(f"{text}\n")
    write_json(paths[1], result.to_json())
    if not can_plot():
        paths.pop()
        typer.echo(
            "No plot was drawn, because matplotlib is not installed: pip install matplotlib",
            err=True,
        )
    elif not plot_benchmark(result, paths[2]):
        paths.pop()
    typer.echo(f"Written to {', '.join(map(str, paths))}", err=True)


def main() -> None:
    """Run the command line."""
    typer.run(benchmark)


if __name__ == "__main__":
    main()
