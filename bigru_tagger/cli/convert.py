"""The commands `convert` and `config`: convert corpora to .spacy files, copy training configs."""

from pathlib import Path
from typing import Annotated, Any

import typer

# `configs_dir` was defined here before 0.3.
from ..recipes.configs import configs_dir, find_config, list_configs  # noqa: F401
from .app import app, report_errors
from .options import parse_renaming, sentences_per_doc_option, with_reader_options


@app.command("convert")
@with_reader_options
def convert_command(
    source: Annotated[
        str,
        typer.Argument(
            help="A dataset on the Hugging Face hub, a folder, or a file (column file, JSON, "
            "parquet)."
        ),
    ],
    output_dir: Annotated[
        Path, typer.Argument(help="Output folder for the .spacy files.", file_okay=False)
    ],
    *,
    split: Annotated[
        list[str] | None, typer.Option(help="A split to convert; repeatable. Default: all.")
    ] = None,
    sentences_per_doc: Annotated[int, sentences_per_doc_option()] = 1,
    lang: Annotated[
        str, typer.Option(help="Language of the tokenizer, for texts with character offsets.")
    ] = "xx",
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=NAME: rename a label of entities and chunks; LABEL= removes them. "
            "Repeatable."
        ),
    ] = None,
    annotated_labels: Annotated[
        str | None,
        typer.Option(
            help="LABEL,LABEL,...: the labels of entities that the data annotate, under their new "
            "names, if there are others. O then means no entity with one of these labels."
        ),
    ] = None,
    reader: dict[str, Any],
) -> None:
    """Convert any corpus to .spacy files, and print a table of counts."""
    from ..corpus.convert import convert, counts_table

    labels = annotated_labels.split(",") if annotated_labels else None
    with report_errors():
        counts = convert(
            source,
            output_dir,
            splits=split,
            lang=lang,
            sentences_per_doc=sentences_per_doc,
            rename=parse_renaming(rename or ()),
            annotated_labels=labels and [label.strip() for label in labels],
            **reader,
        )
    typer.echo(counts_table(counts))
    typer.echo(f"Written to {output_dir}")
    if any(split.sentences > split.documents for split in counts.values()):
        typer.echo(
            "Note: spacy.Corpus.v1 does not pass the sentence starts in .spacy files on to the "
            "pipeline, which estimates them. bigru_tagger.Corpus.v1 does",
            err=True,
        )


@app.command("config")
def config_command(
    name: Annotated[
        str | None, typer.Argument(help="The config. Default: list all configs.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Argument(help="The file to copy it to. Default: print it.", dir_okay=False),
    ] = None,
) -> None:
    """List the training configs of this package, or print or copy one.

    The first line of each config is a comment that describes it.
    """
    if name is None:
        configs = list_configs()
        width = max(map(len, configs))
        for title, path in configs.items():
            with path.open(encoding="utf8") as file:
                typer.echo(f"{title:<{width}}  {file.readline().removeprefix('# ').rstrip()}")
        return
    with report_errors():
        text = find_config(name).read_text(encoding="utf8")
    if output is None:
        typer.echo(text)
    elif output.exists():
        typer.echo(f"Error: {output} already exists: remove it, or choose another name", err=True)
        raise typer.Exit(1)
    else:
        output.write_text(text, encoding="utf8")
        typer.echo(f"Written to {output}")
