"""Options of every command that reads data: how to read them."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

AUTO = "auto"
"""What an option is given to find a setting out, in place of a config's."""


def _option(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="How to read data")


# The names are those of the readers' settings.
_OPTIONS: dict[str, Any] = {
    "columns": Annotated[
        list[str] | None,
        _option(
            "What each column of a column file holds, as in tokens,pos,ner: of these, chunk, "
            "document and _. Repeatable."
        ),
    ],
    "separator": Annotated[
        str | None, _option(r'What stands between columns of a column file; "\t" is a tab.')
    ],
    "encoding": Annotated[str | None, _option("The encoding of column files; else UTF-8.")],
    "scheme": Annotated[
        str | None,
        _option("Tag scheme (IOB1, IOB2, IOBES, BMES, BILOU; IO for labels without prefixes)."),
    ],
    "tokens_column": Annotated[str | None, _option("The column of tokens, in rows.")],
    "ner_column": Annotated[str | None, _option('The column of entity tags; "" for none.')],
    "pos_column": Annotated[str | None, _option('The column of parts of speech; "" for none.')],
    "chunk_column": Annotated[str | None, _option('The column of chunk tags; "" for none.')],
    "document_column": Annotated[str | None, _option("The column of documents.")],
    "text_column": Annotated[
        str | None, _option("The column of texts, whose entities have character offsets.")
    ],
    "entities_column": Annotated[str | None, _option("The column of these entities.")],
    "tag_names": Annotated[
        list[str] | None,
        _option(
            "COLUMN=TAG,TAG,...: the tags of a column that holds their numbers, from 0; repeatable."
        ),
    ],
    "alignment": Annotated[
        str | None,
        _option(
            "Entities that start or end within a token: strict (an error that lists them), expand "
            "or contract."
        ),
    ],
}


def with_reader_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of readers.

    command (Callable[..., Any]): A function for `typer`. It gets those that the user gave as a
        dict, by the names of the readers' settings, in its argument `reader`.
    RETURNS (Callable[..., Any]): The function with the options as arguments of their own.
    """

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _OPTIONS}
        return command(*args, reader=_settings(given), **kwargs)

    parameters = inspect.signature(command).parameters
    own = [parameter for name, parameter in parameters.items() if name != "reader"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
    wrapper.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    return wrapper


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Turn options into settings of readers; "auto" becomes None, which finds a setting out."""
    settings = {name: value for name, value in given.items() if value is not None}
    if "columns" in settings:
        settings["columns"] = [
            column for text in settings["columns"] for column in text.replace(",", " ").split()
        ]
    if "separator" in settings:
        settings["separator"] = settings["separator"].replace("\\t", "\t")
    if "tag_names" in settings:
        settings["tag_names"] = dict(_parse_names(text) for text in settings["tag_names"])
    return {name: None if value in (AUTO, [AUTO]) else value for name, value in settings.items()}


def _parse_names(text: str) -> tuple[str, list[str]]:
    column, equals, names = text.partition("=")
    if not (column and equals and names):
        raise typer.BadParameter(
            f"{text!r}: write it as COLUMN=TAG,TAG,..., as in ner_tags=O,B-PER,I-PER",
            param_hint="--tag-names",
        )
    return column, [tag.strip() for tag in names.split(",")]
