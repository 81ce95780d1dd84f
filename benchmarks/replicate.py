"""Train several seeds of a config, and summarise their scores: `scripts/replicate --help`."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from spacy.cli._util import parse_config_overrides
from spacy.util import load_config

from .replication.report import replace_block, results_table
from .replication.runs import choose_part, make_recipe, parse_seeds, read_runs, split_source
from .replication.training import Plan, choose_cores, train_seeds


def replicate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG [-- --SETTING VALUE …]",
            help="The config. Everything after -- is passed to `spacy train`, to override "
            "settings. With --table: files of results.",
        ),
    ],
    *,
    seeds: Annotated[str, typer.Option(help="Seeds to train, such as 0-4 or 0,2,7-9.")] = "0-4",
    jobs: Annotated[
        int,
        typer.Option(
            help="Number of runs at the same time; if above 1, each uses one core.", min=1
        ),
    ] = 1,
    shard: Annotated[
        str, typer.Option(help="Part i of n of the seeds, as i/n, for one of n machines.")
    ] = "1/1",
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA[:SPLIT]", help="Test data; by default, there are only development scores."
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="File for one line per run; by default results/CONFIG.jsonl.", dir_okay=False
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder for logs and models.", file_okay=False)
    ] = Path("output/replicate"),
    name: Annotated[
        str | None, typer.Option(help="Name of this variant; by default its overrides.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the models.")] = False,
    gpu_id: Annotated[
        int, typer.Option(help="GPU for all components, which needs CuPy; -1 for none.")
    ] = -1,
    table: Annotated[
        bool, typer.Option("--table", help="Only print the table of results, without training.")
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(help="With --table: the variant to compare others with.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="With --table: the file to write the table to.", dir_okay=False),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(help="With --into: the name of the block; by default that of the results."),
    ] = None,
) -> None:
    """Train several seeds of a config; print means, standard deviations and 95 % intervals.

    Seeds with a line in the results are not trained again. If the command is stopped, run it again
    to continue. On several machines, --shard divides the seeds. --table prints a Markdown table of
    files of results. --into writes it between the lines <!-- results:NAME --> and <!-- /results -->
    of a file.
    """
    try:
        if table:
            make_table([Path(file) for file in arguments], baseline, into, block)
            return
        if baseline is not None or into is not None or block is not None:
            raise ValueError("--baseline, --into and --block need --table.")
        config, *overrides = arguments
        settings = parse_config_overrides(list(overrides))
        source = None if test is None else split_source(test)
        recipe = make_recipe(Path(config), settings, name=name, test=source)
        plan = Plan(
            config=Path(config),
            overrides=overrides,
            recipe=recipe,
            max_steps=load_config(config, overrides=settings)["training"]["max_steps"],
            test=source,
            folder=output / f"{recipe.config}-{recipe.key}",
            keep=keep,
            gpu_id=gpu_id,
            cores=choose_cores(jobs),
            threads=1 if jobs > 1 else None,
        )
        results = results or Path("results") / f"{recipe.config}.jsonl"
        failed = train_seeds(plan, choose_part(parse_seeds(seeds), shard), jobs, results)
        runs = [run for run in read_runs(results) if run.recipe.key == recipe.key]
        if runs:
            typer.echo(results_table(runs))
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command continues with the missing seeds.", err=True)
        raise typer.Exit(130) from None
    if failed:
        raise typer.Exit(1)


def make_table(
    files: Sequence[Path], baseline: str | None, into: Path | None, block: str | None
) -> None:
    """Print the table of files of results, or write it to another file."""
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file}: no such file of results")
    text = results_table((run for file in files for run in read_runs(file)), baseline=baseline)
    if into is None:
        typer.echo(text)
    else:
        replace_block(into, block or files[0].stem, text)
        typer.echo(f"Written to {into}")


def main() -> None:
    """Run the command line. SIGTERM stops the trainings, like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.run(replicate)


if __name__ == "__main__":
    main()
