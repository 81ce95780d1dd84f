"""Options that several commands share."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from ..errors import ConfigError

Model = Annotated[str, typer.Argument(help="A pipeline: a folder or the name of a package.")]
Device = Annotated[
    str | None, typer.Option(help="torch device of the components that have a `device`.")
]
GpuId = Annotated[int, typer.Option(help="GPU of all components (requires CuPy); -1: none.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with an unfinished training in the output folder, with the same data and "
        "settings. Without one, training starts from the beginning.",
    ),
]
SpansKey = Annotated[str, typer.Option(help="The key of the chunks in doc.spans.")]
BatchSize = Annotated[
    int | None, typer.Option(help="Docs per batch. Default: as in the pipeline.", min=1)
]


def sentences_per_doc_option(default: str = "") -> Any:
    """Create the option for the number of sentences per Doc.

    default (str): What applies without the option, if the help does not show it by itself.
    RETURNS (Any): The option, for the annotation of a parameter.
    """
    help_text = "Sentences per Doc; 0 for whole documents."
    if default:
        help_text += f" Default: {default}."
    return typer.Option("--sentences-per-doc", "--n-sents", help=help_text, min=0)


AUTO = "auto"
"""Option value that detects a setting, and overrides the setting of a config."""


def _option(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="How to read data")


# The names are those of the readers' settings.
_OPTIONS: dict[str, Any] = {
    "columns": Annotated[
        list[str] | None,
        _option(
            "The content of each column of a column file, in order, such as tokens,pos,ner. Names: "
            "tokens, ner, pos, chunk, document, and _ to skip a column. Repeatable."
        ),
    ],
    "separator": Annotated[
        str | None, _option(r'The separator of column and CSV files; "\t" is a tab.')
    ],
    "encoding": Annotated[
        str | None, _option("The encoding of column and CSV files. Default: UTF-8.")
    ],
    "scheme": Annotated[
        str | None,
        _option("Tag scheme (IOB1, IOB2, IOBES, BMES, BILUO; IO for labels without prefixes)."),
    ],
    "tokens_column": Annotated[str | None, _option("The column of tokens in a dataset.")],
    "ner_column": Annotated[str | None, _option('The column of entity tags; "" for none.')],
    "pos_column": Annotated[str | None, _option('The column of part-of-speech tags; "" for none.')],
    "chunk_column": Annotated[str | None, _option('The column of chunk tags; "" for none.')],
    "document_column": Annotated[
        str | None, _option("The column that identifies the document of a sentence.")
    ],
    "text_column": Annotated[
        str | None, _option("The column of texts whose entities have character offsets.")
    ],
    "entities_column": Annotated[str | None, _option("The column of these entities.")],
    "tag_names": Annotated[
        list[str] | None,
        _option(
            "COLUMN=TAG,TAG,...: the tags, in order, of a column that holds tag numbers from 0. "
            "Repeatable."
        ),
    ],
    "alignment": Annotated[
        str | None,
        _option(
            "How to treat entities that start or end within a token: strict (an error that lists "
            "them), expand or contract."
        ),
    ],
}


def with_reader_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for reader settings to a command.

    command (Callable[..., Any]): A function for `typer`. Its argument `reader` receives the
        settings that the user set, as a dict.
    RETURNS (Callable[..., Any]): The function, with one argument per option instead of `reader`.
    """

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _OPTIONS}
        return command(*args, reader=_settings(given), **kwargs)

    parameters = inspect.signature(command).parameters
    kept = [parameter for name, parameter in parameters.items() if name != "reader"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
    wrapper.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
    return wrapper


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Convert options to reader settings. "auto" becomes None, which detects the setting."""
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
            f"{text!r}: use the form COLUMN=TAG,TAG,..., as in ner_tags=O,B-PER,I-PER",
            param_hint="--tag-names",
        )
    return column, [tag.strip() for tag in names.split(",")]


def parse_renaming(pairs: Iterable[str]) -> dict[str, str]:
    """Parse the values of the option `--rename`.

    pairs (Iterable[str]): "LABEL=NAME" to rename a label, or "LABEL=" to remove its entities.
    RETURNS (dict[str, str]): new names by label.
    RAISES (ValueError): if a value does not have this form, or a label has two names.
    """
    names: dict[str, str] = {}
    for pair in pairs:
        label, equals, name = pair.partition("=")
        if not label or not equals:
            raise ConfigError(f"--rename {pair}: the value must be LABEL=NAME")
        if names.setdefault(label, name) != name:
            raise ConfigError(f"--rename {pair}: {label} already has the name {names[label]!r}")
    return names
