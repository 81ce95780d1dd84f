"""The command `bigru-tagger`, to which the modules beside this one add theirs."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .. import __version__

app = typer.Typer(
    name="bigru-tagger",
    help="Bi-GRU tagging for spaCy. Train with `spacy train`; everything around it is here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bigru-tagger {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


class WithOverrides(TyperCommand):
    """A command whose arguments after `--` override settings of a config: they are `ctx.obj`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Separate the overrides from the command's own arguments."""
        own = list(takewhile(lambda argument: argument != "--", args))
        ctx.obj = args[len(own) + 1 :]
        return super().parse_args(ctx, own)


@contextmanager
def errors_told(kinds: tuple[type[Exception], ...] = (OSError, ValueError)) -> Iterator[None]:
    """Tell what is wrong with a user's input on standard error, in place of a traceback.

    kinds (tuple[type[Exception], ...]): the exceptions that speak of the input.
    RAISES (typer.Exit): with status 1, where one of these was raised.
    """
    try:
        yield
    except BrokenPipeError:  # as of `| head`; typer ends quietly
        raise
    except kinds as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
