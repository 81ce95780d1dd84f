"""Renaming of labels, to compare systems and data with different label sets."""

from collections.abc import Iterable, Mapping

from spacy.tokens import Doc

from ..errors import ConfigError
from ..tasks import list_tasks


def parse_names(pairs: Iterable[str]) -> dict[str, str]:
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


def rename_labels(doc: Doc, names: Mapping[str, str], *, spans_key: str) -> None:
    """Rename the labels of the entities and spans of a Doc.

    The spans keep their probabilities.

    doc (Doc): the gold or predicted Doc, modified in place.
    names (Mapping[str, str]): new names by label. Spans with the new name "" are removed.
    spans_key (str): the key of `doc.spans` for chunks.
    """
    for task in list_tasks(spans_key):
        task.rename(doc, names)
