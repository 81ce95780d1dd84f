"""The command `bigru-tagger`, to which the modules beside this one add theirs."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

app = typer.Typer(
    name="bigru-tagger",
    help="Bi-GRU tagging for spaCy. Train with `spacy train`; everything around it is here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
