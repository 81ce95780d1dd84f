"""The command line interface `bigru-tagger`: one module per topic."""

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
    try:
        with explained("this command"):
            app()
    except Error as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
