"""A sentence's entities, and what the gates do with it."""

from pathlib import Path
from typing import Annotated

import typer

from ..plots import can_plot
from .app import app, errors_told


@app.command("tag")
def tag_command(
    model: Annotated[str, typer.Argument(help="A pipeline: a folder or a package's name.")],
    sentences: Annotated[list[str], typer.Argument(help="What to tag.")],
) -> None:
    """Print the entities of sentences, each with its probability if the pipeline tells it."""
    from spacy.tokens import Span

    from ..evaluation.loading import load_pipeline

    with errors_told():
        nlp = load_pipeline(model)
    for doc in nlp.pipe(sentences):
        typer.echo(doc.text)
        for entity in doc.ents:
            known = Span.has_extension("confidence") and entity._.confidence is not None
            confidence = f"{entity._.confidence:6.1%}" if known else ""
            typer.echo(f"  {entity.label_:<6} {confidence}  {entity.text}")
        if not doc.ents:
            typer.echo("  no entities")


@app.command("gates")
def gates_command(
    model: Annotated[str, typer.Argument(help="A pipeline: a folder or a package's name.")],
    text: Annotated[str, typer.Argument(help="A sentence.")],
    *,
    output: Annotated[
        Path | None, typer.Option(help="Draw a figure to this file, .svg or .png.", dir_okay=False)
    ] = None,
    component: Annotated[
        str | None, typer.Option(help="The component; else the first that has a GRU.")
    ] = None,
    units: Annotated[int, typer.Option(help="Single units in the figure.", min=0)] = 8,
) -> None:
    """Show what the update and reset gates (z and r) of the GRU do at each token."""
    from ..analysis.gates import gates_table, plot_gates, read_gates
    from ..evaluation.loading import load_pipeline

    with errors_told():
        if output is not None and output.suffix not in {".svg", ".png"}:
            raise ValueError(f"--output: {output} has to end in .svg or .png")
        if output is not None and not can_plot():
            raise ValueError('--output needs matplotlib: pip install "bigru-tagger[plots]"')
        gates = read_gates(load_pipeline(model), text, component)
        typer.echo(gates_table(gates))
        if output is not None:
            plot_gates(gates, output, units)
            typer.echo(f"Drawn to {output}")
