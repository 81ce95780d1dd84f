"""The commands `to-transformers` and `from-transformers`: convert from and to a pipeline."""

from pathlib import Path
from typing import Annotated

import typer

from ..files import atomic_folder
from .app import app, report_errors
from .options import Model


@app.command("to-transformers")
def to_transformers_command(
    model: Model,
    output_dir: Annotated[Path, typer.Argument(help="The output folder.", file_okay=False)],
    *,
    component: Annotated[
        str | None,
        typer.Option(
            help="The component: a bigru_ner, bigru_tagger or bigru_chunker. Default: the only one "
            "in the pipeline."
        ),
    ] = None,
) -> None:
    """Convert a component of a pipeline to Hugging Face's format, with a model card."""
    from ..huggingface import exchange
    from ..scoring.loading import load_pipeline

    with report_errors():
        nlp = load_pipeline(model)
        name = exchange.choose_component(nlp) if component is None else component
        exchange.save_transformers(nlp, name, output_dir)
    others = [other for other in nlp.pipe_names if other != name]
    if others:
        typer.echo(f"Not converted, since the format has one component: {', '.join(others)}")
    typer.echo(f"Written to {output_dir}")


@app.command("from-transformers")
def from_transformers_command(
    model: Annotated[str, typer.Argument(help="A folder, or the name of a model on the hub.")],
    output_dir: Annotated[
        Path, typer.Argument(help="The output folder of the pipeline.", file_okay=False)
    ],
) -> None:
    """Convert a model in Hugging Face's format back to a spaCy pipeline."""
    from ..huggingface import exchange

    with report_errors():
        nlp = exchange.load_transformers(model)
        with atomic_folder(output_dir) as temporary:
            nlp.to_disk(temporary)
    typer.echo(f"Written to {output_dir}")
