"""Corpora as .spacy files; the configs of this package."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, errors_told
from .reading import with_reader_options


@app.command("convert")
@with_reader_options
def convert_command(
    source: Annotated[
        str,
        typer.Argument(help="A dataset of the hub, a folder, or a file: columns, JSON, parquet."),
    ],
    output_dir: Annotated[Path, typer.Argument(help="Where the .spacy files go.", file_okay=False)],
    *,
    split: Annotated[
        list[str] | None, typer.Option(help="A split to convert; repeatable. Else all.")
    ] = None,
    n_sents: Annotated[
        int, typer.Option(help="Sentences per Doc; 0 for whole documents.", min=0)
    ] = 1,
    lang: Annotated[
        str, typer.Option(help="The language whose tokenizer cuts texts with character offsets.")
    ] = "xx",
    reader: dict[str, Any],
) -> None:
    """Write any corpus as .spacy files, and print a table of what is in it."""
    from ..corpus.convert import convert, counts_table

    with errors_told((OSError, ValueError, TypeError)):
        counts = convert(
            source, output_dir, splits=split, lang=lang, sentences_per_doc=n_sents, **reader
        )
    typer.echo(counts_table(counts))
    typer.echo(f"Written to {output_dir}")


@app.command("config")
def config_command(
    name: Annotated[str | None, typer.Argument(help="The config; none to list them.")] = None,
    output: Annotated[
        Path | None, typer.Argument(help="Where to copy it; none to print it.", dir_okay=False)
    ] = None,
) -> None:
    """List the training configs of this package, or copy one."""
    configs = {path.stem: path for path in sorted(configs_dir().glob("*.cfg"))}
    if name is None:
        typer.echo("\n".join(configs))
        return
    if name not in configs:
        typer.echo(f"Error: no config {name!r}; there are {', '.join(configs)}", err=True)
        raise typer.Exit(1)
    text = configs[name].read_text(encoding="utf8")
    if output is None:
        typer.echo(text)
    elif output.exists():
        typer.echo(f"Error: {output} is there already; it is left as it is", err=True)
        raise typer.Exit(1)
    else:
        output.write_text(text, encoding="utf8")
        typer.echo(f"Written to {output}")


def configs_dir() -> Path:
    """Find the training configs.

    RETURNS (Path): their folder: inside the package, or beside it in a checkout on a system
        without symbolic links.
    """
    package = Path(__file__).parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"
