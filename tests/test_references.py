"""References to names of the package, in docstrings and in the documentation, exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest
from samples import ROOT

REFERENCE = re.compile(r"(?:`|^::: )(bigru_tagger(?:\.\w+)+)(?:`|$)", re.MULTILINE)
"""Names in code font, and those whose docstrings the documentation shows."""

REGISTERED = re.compile(r"\.v\d+$")
"""The end of registered names, such as `bigru_tagger.BiGRUTagger.v1`, which are not modules."""

SOURCES = [
    path
    for folder in ("bigru_tagger", "benchmarks", "docs", "examples", "tests")
    for ending in ("py", "md")
    for path in sorted((ROOT / folder).rglob(f"*.{ending}"))
] + [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def read_texts(path: Path) -> Iterator[str]:
    """Yield the docstrings and strings of a module, or the text of another file."""
    text = path.read_text(encoding="utf8")
    if path.suffix != ".py":
        yield text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def exists(name: str) -> bool:
    """Check whether a dotted name is a module, or an attribute of one, at any depth."""
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bigru_tagger.network.embeddings.base.find_module", True),
        ("bigru_tagger.network.network.Network.resize", True),
        ("bigru_tagger.decoding.decoders", True),
        ("bigru_tagger.evaluate", True),
        ("bigru_tagger.network.embed.EMBEDDINGS", False),
        ("bigru_tagger.network.network.Network.enlarge", False),
    ],
)
def test_names_are_resolved(name: str, expected: bool) -> None:
    assert exists(name) == expected


def test_references_exist() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in SOURCES
        for text in read_texts(path)
        for name in REFERENCE.findall(text)
        if not REGISTERED.search(name)
    }
    assert len(found) > 10
    assert {reference for reference in found if not exists(reference[1])} == set()
