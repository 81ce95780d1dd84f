"""To Hugging Face's format and back."""

from pathlib import Path
from typing import Annotated

import typer

from ..files import atomic_folder
from .app import app, errors_told


@app.command("to-transformers")
def to_transformers_command(
    model: Annotated[str, typer.Argument(help="A pipeline: a folder or a package's name.")],
    output_dir: Annotated[Path, typer.Argument(help="The folder to write.", file_okay=False)],
    *,
    component: Annotated[
        str | None, typer.Option(help="The component; else the only one of ours.")
    ] = None,
) -> None:
    """Convert a component of a pipeline to Hugging Face's format, with a model card."""
    from ..huggingface import exchange
    from ..scoring.loading import load_pipeline

    with errors_told():
        nlp = load_pipeline(model)
        name = exchange.choose_component(nlp) if component is None else component
        exchange.save_transformers(nlp, name, output_dir)
    others = [other for other in nlp.pipe_names if other != name]
    if others:
        typer.echo(f"Not converted, since the format holds one component: {', '.join(others)}")
    typer.echo(f"Written to {output_dir}")


@app.command("from-transformers")
def from_transformers_command(
    model: Annotated[str, typer.Argument(help="A folder, or the name of a model of the hub.")],
    output_dir: Annotated[Path, typer.Argument(help="The pipeline to write.", file_okay=False)],
) -> None:
    """Convert a model in Hugging Face's format back to a spaCy pipeline."""
    from ..huggingface import exchange

    with errors_told():
        nlp = exchange.load_transformers(model)
        with atomic_folder(output_dir) as place:
            nlp.to_disk(place)
    typer.echo(f"Written to {output_dir}")
