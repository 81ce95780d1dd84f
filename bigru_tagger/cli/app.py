"""The typer application `bigru-tagger`. The other modules register their commands on it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from signal import SIGINT
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from .. import __version__
from ..base_error import Error
from ..extras import explained

app = typer.Typer(
    name="bigru-tagger",
    help="Commands for bidirectional GRU taggers in spaCy. To train one, use `train`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"bigru-tagger {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    code: Annotated[
        Path | None,
        typer.Option(
            help="A Python file to import before the command, with registered functions of a "
            "pipeline, as in `spacy train --code`.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Define the options before a command."""
    if code is not None:
        from spacy.util import import_file

        import_file("python_code", code)


class WithOverrides(TyperCommand):
    """A command whose arguments after `--` are config overrides, stored in `ctx.obj`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Split off the overrides and parse the other arguments.

        ctx (click.Context): The context.
        args (list[str]): All arguments of the command.
        RETURNS (list[str]): The arguments that are left after parsing.
        RAISES (BadParameter): An override is not after `--`.
        """
        arguments = list(takewhile(lambda argument: argument != "--", args))
        for argument in arguments:
            if re.match(r"--\w+\.", argument):
                raise typer.BadParameter(
                    f"{argument} is a setting of the config: write such settings last, after --",
                    ctx=ctx,
                )
        ctx.obj = args[len(arguments) + 1 :]
        return super().parse_args(ctx, arguments)


@contextmanager
def report_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Print errors about a user's input to standard error, on one line without a traceback.

    *kinds (type[Exception]): Exceptions that invalid input can cause, besides the `Error` of this
        package, OSError and ValueError.
    RAISES (typer.Exit): One of these exceptions was raised. The exit status is 1. Or a
        KeyboardInterrupt with a message was raised; then it is 130.
    """
    caught: tuple[type[Exception], ...] = (Error, OSError, ValueError, *kinds)
    try:
        with explained("this command"):
            yield
    except KeyboardInterrupt as stop:
        if not stop.args:
            raise
        typer.echo(stop, err=True)
        raise typer.Exit(128 + SIGINT) from stop
    except BrokenPipeError:  # for example from `| head`; typer exits without a message
        raise
    except caught as error:
        typer.echo(f"Error: {_with_options(str(error))}", err=True)
        raise typer.Exit(1) from error


def _with_options(message: str) -> str:
    # Errors name a parameter as `spans_key`; on the command line it is --spans-key.
    commands = getattr(get_command(app), "commands", {}).values()
    options = {
        parameter.name: parameter.opts[0] for command in commands for parameter in command.params
    }
    return re.sub(r"`(\w+)`", lambda match: options.get(match[1], match[0]), message)


if __name__ == "__main__":  # `python -m bigru_tagger.cli.app`, which would do nothing
    from . import main

    main()
