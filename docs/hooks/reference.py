"""Fills the reference pages at build time from signatures, docstrings and the command line.

A page asks for generated text by a comment: `<!-- generated: settings spacy_misc -->` lists the
registered functions of an entry-point group, `<!-- generated: commands -->` all commands.
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from importlib.metadata import distribution
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from docstrings import ParsedDocstring, parse
from spacy.language import Language
from thinc.api import Model
from typer.cli import get_docs_for_click

from bigru_tagger.cli import app

_PLACEHOLDER = re.compile(r"^<!-- generated: (?P<name>\w+) ?(?P<argument>\w*) -->$", re.MULTILINE)
_REFERS_TO = re.compile(r"^see `(?P<name>\w+)`\.?")
_OVERVIEW = re.compile(r"\A# *$|^\*\*Commands\*\*:.*?(?=^## )", re.MULTILINE | re.DOTALL)
_FACTORIES = "spacy_factories"
_RUNTIME_ARGUMENTS = {"nlp", "name"}  # of a factory: spaCy passes them


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace the placeholders of a page; MkDocs calls this for each page."""
    return _PLACEHOLDER.sub(lambda found: _GENERATORS[found["name"]](found["argument"]), markdown)


def settings(group: str) -> str:
    """Describe every setting of the registered functions of a group.

    group (str): An entry-point group of the package, such as "spacy_readers".
    RETURNS (str): Markdown: a heading for each function, below it its settings.
    RAISES (LookupError): A setting is not described anywhere.
    """
    points = [point for point in distribution("bigru-tagger").entry_points if point.group == group]
    functions = {point.name: point.load() for point in sorted(points, key=lambda p: p.name)}
    described: dict[str, ParsedDocstring] = {}
    for function in functions.values():
        described[function.__name__] = _parse_with_bases(function)
    texts = []
    for name, function in functions.items():
        own = described[function.__name__]
        about = _about_component(name) if group == _FACTORIES else own.text
        texts.append(f"### `{name}`\n\n{about}\n")
        defaults = _defaults(name, function, group)
        for setting, (annotation, default) in defaults.items():
            effect = effect_of(setting, own, described, name)
            default_text = "required" if default is _REQUIRED else f"default `{_toml(default)}`"
            texts.append(
                f"`{setting}` · `{render_type(annotation)}` · {default_text}\n:   {effect}\n"
            )
    return "\n".join(texts)


_REQUIRED = inspect.Parameter.empty
_TYPE_NAMES = {NoneType: "null", Model: "Model", Callable: "function"}


def _defaults(name: str, function: Callable[..., Any], group: str) -> dict[str, tuple[Any, Any]]:
    parameters = inspect.signature(function).parameters.values()
    values: Mapping[str, Any] = {}
    if group == _FACTORIES:
        values = Language.get_factory_meta(name).default_config or {}
    return {
        parameter.name: (parameter.annotation, values.get(parameter.name, parameter.default))
        for parameter in parameters
        if not (group == _FACTORIES and parameter.name in _RUNTIME_ARGUMENTS)
    }


def _about_component(factory: str) -> str:
    meta = Language.get_factory_meta(factory)
    written = ", ".join(f"`{attribute}`" for attribute in meta.assigns)
    weights = ", ".join(
        f"`{score}` {weight}"
        for score, weight in (meta.default_score_weights or {}).items()
        if weight
    )
    return f"A component. It writes {written}. Score weights in training: {weights}."


def _parse_with_bases(function: Any) -> ParsedDocstring:
    """Parse a docstring; a class also has the parameters of its base classes."""
    parsed = parse(inspect.getdoc(function) or "")
    if inspect.isclass(function):
        for base in function.__mro__[1:-1]:
            inherited = parse(inspect.cleandoc(base.__doc__ or "")).parameters
            parsed.parameters = {**inherited, **parsed.parameters}
    return parsed


def effect_of(
    setting: str, own: ParsedDocstring, others: Mapping[str, ParsedDocstring], function: str
) -> str:
    """Find a setting's description: its own, the one it refers to, or a neighbour's.

    setting (str): The setting.
    own (ParsedDocstring): The docstring of its function.
    others (Mapping[str, ParsedDocstring]): The docstrings of all functions of the group by name.
    function (str): The function's registered name, for the error.
    RETURNS (str): What the setting does.
    RAISES (LookupError): No docstring describes it.
    """
    texts = [
        parsed.parameters[setting][1]
        for parsed in (own, *others.values())
        if setting in parsed.parameters
    ]
    if not texts:
        raise LookupError(f"{function}: the setting {setting!r} has no description in a docstring")
    refers = _REFERS_TO.match(texts[0])
    if refers and refers["name"] in others:
        rest = texts[0][refers.end() :].strip()
        return f"{others[refers['name']].parameters[setting][1]} {rest}".strip()
    text = re.sub(r"\bNone\b", "null", texts[0])  # as configs spell it
    return text[:1].upper() + text[1:]


def render_type(annotation: Any) -> str:
    """Write a type annotation as a user would write its values.

    annotation (Any): A type, or its name.
    RETURNS (str): For example `"gru" | "lstm"`, `int | list[int]`, `str | null`.
    """
    arguments = get_args(annotation)
    kind = get_origin(annotation) or annotation
    name = _TYPE_NAMES.get(kind, getattr(kind, "__name__", str(kind)))
    if kind is Literal:
        return " | ".join(json.dumps(argument) for argument in arguments)
    if kind in (Union, UnionType):
        return " | ".join(dict.fromkeys(map(render_type, arguments)))
    if arguments and kind not in _TYPE_NAMES:
        return f"{name}[{', '.join(map(render_type, arguments))}]"
    return name


def _toml(value: Any) -> str:
    if isinstance(value, dict) and any(key.startswith("@") for key in value):
        return next(str(name) for key, name in value.items() if key.startswith("@"))
    return json.dumps(value, ensure_ascii=False)


def commands(_: str = "") -> str:
    """Describe every command of `bigru-tagger` with its arguments and options.

    RETURNS (str): Markdown: a heading for each command.
    """
    command = typer.main.get_command(app)
    context = typer.Context(command)
    text = get_docs_for_click(obj=command, ctx=context, name="bigru-tagger", title=" ")
    # Without the list of shortened help texts: the table of contents lists the commands.
    text = _OVERVIEW.sub("", text)
    return text.replace("```console\n$ ", "```text\n")


_GENERATORS: dict[str, Callable[[str], str]] = {"settings": settings, "commands": commands}
