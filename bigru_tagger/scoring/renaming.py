"""Other names of entity types, so that systems and data with other labels can be compared."""

from collections.abc import Iterable, Mapping

from spacy.tokens import Doc

from ..tasks import list_tasks


def parse_names(pairs: Iterable[str]) -> dict[str, str]:
    """Read names as a command is given them.

    pairs (Iterable[str]): "LABEL=NAME", or "LABEL=" for what is to count as no entity.
    RETURNS (dict[str, str]): names by label.
    RAISES (ValueError): one is not of this form, or a label has two names.
    """
    names: dict[str, str] = {}
    for pair in pairs:
        label, equals, name = pair.partition("=")
        if not label or not equals:
            raise ValueError(f"--rename {pair}: write LABEL=NAME")
        if names.setdefault(label, name) != name:
            raise ValueError(f"--rename {pair}: {label} has the name {names[label]!r} already")
    return names


def rename_labels(doc: Doc, names: Mapping[str, str], *, spans_key: str) -> None:
    """Give the entities and other spans of a document other labels.

    Probabilities stay with them. Tokens of what gets the name "" are outside of entities.

    doc (Doc): gold or predicted; changed in place.
    names (Mapping[str, str]): new names by label.
    spans_key (str): where chunks are, in `doc.spans`.
    """
    for task in list_tasks(spans_key):
        task.rename(doc, names)
