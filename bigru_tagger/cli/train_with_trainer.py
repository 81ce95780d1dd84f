"""Training by `transformers.Trainer`."""

from pathlib import Path
from typing import Annotated

import typer

from .app import WithOverrides, app, errors_told


@app.command("train-with-trainer", cls=WithOverrides)
def train_with_trainer_command(
    ctx: typer.Context,
    config_path: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", help="A config with one bigru_ner, such as configs/conll2003.cfg."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The folder to write.", file_okay=False)],
    *,
    epochs: Annotated[float, typer.Option(help="Runs over the training data.", min=0)] = 12,
    batch_size: Annotated[int, typer.Option(help="Docs per batch.", min=1)] = 2,
    learn_rate: Annotated[float, typer.Option(help="At its highest, after a warm-up.")] = 0.003,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.", min=0)] = 0.01,
    limit: Annotated[
        int | None, typer.Option(help="Train on the first Docs only, this many.", min=1)
    ] = None,
) -> None:
    """Train the network of a config with `transformers.Trainer`, scored by seqeval.

    The config defines the network and the readers of the data; its optimizer and its numbers of
    steps are not used. The output has Hugging Face's format; `bigru-tagger from-transformers`
    converts it to a spaCy pipeline. Everything after `--` overrides settings of the config, such
    as --paths.data.
    """
    from spacy.cli._util import parse_config_overrides
    from spacy.util import load_config

    from ..huggingface.trainer import make_trainer, train_and_save, training_arguments

    with errors_told((OSError, ValueError, ImportError)):
        config = load_config(config_path, parse_config_overrides(list(ctx.obj)))
        arguments = training_arguments(
            config,
            output,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=batch_size,
            learning_rate=learn_rate,
            weight_decay=weight_decay,
        )
        trainer = make_trainer(config, arguments, limit=limit)
    for name, score in train_and_save(trainer).items():
        typer.echo(f"{name:<9} {100 * score:.2f}")
    typer.echo(f"Written to {output}")
