"""The command line interface `bigru-tagger`: one module per topic."""

from . import (  # noqa: F401 - each module registers its commands
    calibrate,
    check,
    convert,
    distill,
    evaluate,
    show,
    train_with_trainer,
    transformers,
)
from .app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line."""
    app()
