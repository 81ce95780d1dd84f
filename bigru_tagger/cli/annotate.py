"""The command `annotate`: annotate files with several processes."""

import sys
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import app, report_errors
from .options import BatchSize, Device, Model

if TYPE_CHECKING:
    from ..annotation.shards import Manifest, Shard


@app.command("annotate")
def annotate_command(
    ctx: typer.Context,
    model: Model,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files or patterns: .txt (one text per line), .jsonl, .json, .parquet, .spacy, or "
            "column files; - for standard input. Text files can be compressed (.gz, .bz2, .xz).",
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option(help="Output folder. A finished part is not repeated.", file_okay=False)
    ],
    workers: Annotated[int, typer.Option(help="Number of processes.", min=1)] = 1,
    output_format: Annotated[
        str, typer.Option("--format", help="Format of the output: parquet, jsonl or spacy.")
    ] = "jsonl",
    column: Annotated[
        str | None,
        typer.Option(help='Column of texts or tokens. Default: "tokens" if it exists, or "text".'),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A column of the input to write; repeatable. Default: all."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of the names of the added columns.")] = "",
    shard_size: Annotated[
        float, typer.Option(help="Size of the input of one output file, in MB.", min=0)
    ] = 1.0,
    batch_size: BatchSize = None,
    threads: Annotated[int, typer.Option(help="Threads of each process.", min=1)] = 1,
    device: Device = None,
) -> None:
    """Annotate files. If the command is stopped, run it again to continue.

    A row that cannot be annotated is described in OUTPUT/errors.jsonl.
    """
    from tqdm import tqdm

    from ..annotation.annotator import Annotator
    from ..annotation.inputs import Inputs
    from ..annotation.shards import FORMATS, Manifest, cut
    from ..annotation.workers import Job, annotate_shards
    from ..extras import require

    with report_errors():
        if output_format not in FORMATS:
            raise ValueError(f"--format {output_format}: choose from {', '.join(FORMATS)}")
        if output_format == "parquet":
            require("pyarrow", "parquet output")
        annotator = Annotator(
            model,
            column=column,
            batch_size=batch_size,
            threads=threads,
            device=device,
            prefix=prefix,
            keep=keep,
        )
        rows = Inputs(inputs)
        manifest = Manifest(
            output,
            {
                "model": annotator.fingerprint,
                "format": output_format,
                "column": column,
                "keep": keep,
                "prefix": prefix,
                "shard_size": shard_size,
            },
        )
        job = Job(annotator, output, output_format, code=(ctx.parent or ctx).params.get("code"))
        n_shards, tokens, start = 0, 0, time.monotonic()
        is_quiet = not sys.stderr.isatty()
        with tqdm(total=rows.size, unit="B", unit_scale=True, disable=is_quiet) as bar:

            def missing() -> "Generator[Shard]":
                nonlocal n_shards
                for shard in cut(rows, max(1, round(shard_size * 1e6))):
                    n_shards += 1
                    if manifest.has(shard, output_format):
                        if not is_quiet:  # a disabled bar does not have it
                            bar.initial += shard.n_bytes  # not part of the speed
                        bar.update(shard.n_bytes)
                    else:
                        yield shard

            try:
                with (
                    closing(missing()) as shards,
                    closing(annotate_shards(job, shards, workers)) as finished,
                ):
                    for shard, result in finished:
                        manifest.add(result)
                        tokens += result.tokens
                        bar.set_postfix_str(f"{tokens / (time.monotonic() - start):,.0f} words/s")
                        bar.update(shard.n_bytes)
            finally:
                n_errors = manifest.write_errors()
        manifest.check_number(n_shards)
        if tokens:
            seconds = time.monotonic() - start
            typer.echo(
                f"{tokens:,} words in {seconds:,.0f} s: {tokens / seconds:,.0f} words/s", err=True
            )
        _summarize(manifest, n_shards, n_errors)


def _summarize(manifest: "Manifest", n_shards: int, n_errors: int) -> None:
    """Print what is in the output. RAISES (ValueError): it is not complete, or empty."""
    results = manifest.results.values()
    n_rows = sum(result.rows for result in results)
    typer.echo(
        f"{n_rows:,} rows with {sum(result.tokens for result in results):,} words in "
        f"{n_shards:,} files: {manifest.folder}",
        err=True,
    )
    if n_errors:
        typer.echo(f"{n_errors:,} errors: {manifest.folder / 'errors.jsonl'}", err=True)
    if n_cut := sum(result.cut for result in results):
        raise ValueError(f"{n_cut} files could not be read to their end: see errors.jsonl")
    if not n_rows:
        first = next((error for result in results for error in result.errors), None)
        why = "the input is empty" if first is None else f"{first['source']}: {first['error']}"
        raise ValueError(f"no row was annotated: {why}")
