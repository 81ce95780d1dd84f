"""The command line interface `bigru-tagger`: one module per topic."""

import os
import sys

import typer

from ..base_error import Error
from ..extras import explained
from . import (  # noqa: F401 - each module registers its commands
    annotate,
    calibrate,
    check,
    convert,
    distill,
    evaluate,
    serve,
    show,
    train,
    train_with_trainer,
    transformers,
)
from .app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # The length of the loop in which a thread waits for another one, 300,000 by default. On a
        # busy machine, where that thread may have no core, training took 1.4 to 5 times as long.
        # GNU's OpenMP reads this variable when PyTorch is imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        with explained("this command"):
            app()
    except Error as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
