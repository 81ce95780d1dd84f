"""The command `train-with-trainer`: train with `transformers.Trainer`."""

from pathlib import Path
from typing import Annotated

import typer

from .app import WithOverrides, app, report_errors


@app.command("train-with-trainer", cls=WithOverrides)
def train_with_trainer_command(
    ctx: typer.Context,
    config_path: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", help="A config with one bigru_ner, such as configs/conll2003.cfg."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The output folder.", file_okay=False)],
    *,
    epochs: Annotated[float, typer.Option(help="Number of epochs.", min=0)] = 12,
    batch_size: Annotated[int, typer.Option(help="Docs per batch.", min=1)] = 2,
    learn_rate: Annotated[
        float, typer.Option(help="Peak learning rate, after the warm-up.")
    ] = 0.003,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW.", min=0)] = 0.01,
    limit: Annotated[
        int | None, typer.Option(help="Train on at most this number of Docs.", min=1)
    ] = None,
) -> None:
    """Train the network of a config with `transformers.Trainer`, and score it with seqeval.

    The config defines the network and the corpora. Its optimizer and numbers of steps are not used.
    The output has Hugging Face's format. `bigru-tagger from-transformers` converts it to a spaCy
    pipeline. Everything after `--` overrides settings of the config, such as --paths.data.
    """
    from spacy.cli._util import parse_config_overrides
    from spacy.util import load_config

    from ..huggingface.trainer import make_trainer, train_and_save, training_arguments

    with report_errors(ImportError):
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
