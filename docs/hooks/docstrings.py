"""Docstrings in spaCy's style: read, and rewritten in Google's style for mkdocstrings.

name (type): What it is; more of it
    on an indented line.
RETURNS (type): What comes back.
RAISES (Error): When. (OtherError): When.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from griffe import Extension, Object

_TYPE = r"\((?P<type>(?:[^()]|\([^()]*\))+)\)"
_ITEM = re.compile(rf"(?P<names>\**\w+(?:, \**\w+)*) {_TYPE}: ?(?P<text>.*)")
_SECTIONS = {"RETURNS": "Returns", "YIELDS": "Yields", "RAISES": "Raises"}
_FURTHER_ERROR = re.compile(r"\.\s+\((?P<type>\w+)\): ")


@dataclass
class ParsedDocstring:
    """The parts of a docstring.

    text (str): The summary and the paragraphs below it.
    parameters (dict[str, tuple[str, str]]): Type and description by the parameter's name.
    sections (dict[str, list[tuple[str, str]]]): Types and descriptions of what is returned, yielded
        and raised, by the keyword.
    """

    text: str
    parameters: dict[str, tuple[str, str]] = field(default_factory=dict)
    sections: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def parse(docstring: str) -> ParsedDocstring:
    """Read a docstring.

    docstring (str): The docstring, without its common indentation.
    RETURNS (ParsedDocstring): Its parts.
    """
    prose: list[str] = []
    items: list[tuple[str, str, str]] = []
    open_item = False
    for line in docstring.splitlines():
        found = _ITEM.fullmatch(line)
        if found:
            items.append((found["names"], found["type"], found["text"]))
        elif open_item and line.startswith("    "):
            names, kind, text = items[-1]
            items[-1] = (names, kind, f"{text} {line.strip()}")
        else:
            prose.append(line)
            open_item = False
            continue
        open_item = True
    parsed = ParsedDocstring(re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip())
    for names, kind, text in items:
        if names in _SECTIONS:
            parsed.sections.setdefault(names, []).extend(_split_errors(names, kind, text))
        else:
            parsed.parameters.update(dict.fromkeys(names.split(", "), (kind, text.strip())))
    return parsed


def _split_errors(keyword: str, kind: str, text: str) -> list[tuple[str, str]]:
    if keyword != "RAISES":
        return [(kind, text.strip())]
    first, *rest = _FURTHER_ERROR.split(text)
    return [(kind, first.strip()), *zip(rest[::2], map(str.strip, rest[1::2]), strict=True)]


def to_google_style(docstring: str) -> str:
    """Rewrite a docstring, for tools that know Google's style.

    docstring (str): The docstring, without its common indentation.
    RETURNS (str): The same in Google's style.
    """
    parsed = parse(docstring)
    parts = [parsed.text]
    if parsed.parameters:
        lines = [f"    {name} ({kind}): {text}" for name, (kind, text) in parsed.parameters.items()]
        parts.append("\n".join(["Args:", *lines]))
    for keyword, entries in parsed.sections.items():
        lines = [f"    {kind}: {text}" for kind, text in entries]
        parts.append("\n".join([f"{_SECTIONS[keyword]}:", *lines]))
    return "\n\n".join(part for part in parts if part)


class SpacyDocstrings(Extension):
    """Lets mkdocstrings read docstrings in spaCy's style."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite the docstring of a class, function or attribute once it is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = to_google_style(obj.docstring.value)
