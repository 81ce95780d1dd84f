"""The command `bigru-tagger`: a module a topic, each of which adds its commands to `app`."""

from . import (  # noqa: F401 - they add their commands
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
