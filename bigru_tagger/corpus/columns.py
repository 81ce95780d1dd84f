"""Find the columns of a dataset."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .json_rows import JsonRows
from .offsets import LABELS
from .sentences import CorpusError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset  # type: ignore[import-untyped]

    AnyRows: TypeAlias = Dataset | IterableDataset | JsonRows

_KNOWN_NAMES = {
    "tokens": ("tokens", "words"),
    "ner": ("ner_tags", "ner", "labels", "tags"),
    "pos": ("pos_tags", "pos", "upos", "xpos"),
    "chunk": ("chunk_tags", "chunk", "chunks"),
    "document": ("document_id", "doc_id"),
    "text": ("text", "data"),
    "entities": ("entities", "spans", "label", "labels", "annotations"),
    # Not found by name: a column of this name may have another meaning.
    "weight": (),
}
TOKENS = _KNOWN_NAMES["tokens"]
"""The names of columns of tokens."""
ENTITIES = _KNOWN_NAMES["entities"]
"""The names of columns of entities with character offsets."""
LAYERS = ("ner", "pos", "chunk")
"""The fields of `Columns` that hold tags."""
# Names in tables with one token per row, without case and without spaces and "_", "." and "-".
_TABLE_NAMES = {
    "tokens": ("token", "word"),
    "ner": ("tag", "nertag", "ner", "label", "entity"),
    "pos": ("pos", "postag"),
    "chunk": ("chunk", "chunktag"),
}
_NUMBERS = ("#", "id", "idx", "index", "no", "nr", "num", "number")
# Columns that place a token in a table.
_PLACE_NAMES = {
    "document": tuple(
        before + after
        for before in ("document", "doc", "file", "article")
        for after in (*_NUMBERS, "name", "")
        if before + after != "article"  # the part of speech
    ),
    "sentence": (
        *(before + after for before in ("sentence", "sent") for after in (*_NUMBERS, "")),
        *("sentences", "sents", "sid"),
    ),
    "position": tuple(before + after for before in ("token", "word") for after in _NUMBERS),
}
_KINDS = {
    **dict.fromkeys(LAYERS, ("items", "objects", "text", "mixed")),
    "tokens": ("items", "text", "mixed"),  # not Prodigy's tokens, which are objects
    "text": ("text",),
    "entities": ("objects", "mixed"),
}


class Columns(NamedTuple):
    """The name of the column for each kind of content; None if there is none.

    Rows have either `tokens` and tags, or a `text` and `entities` with character offsets. Both can
    have a `weight` in the training loss. Several rows with one value of `sentence` are a sentence,
    and `position` numbers its tokens.

    explicit (frozenset[str]): The fields whose column the user named.
    """

    tokens: str | None = None
    ner: str | None = None
    pos: str | None = None
    chunk: str | None = None
    document: str | None = None
    text: str | None = None
    entities: str | None = None
    weight: str | None = None
    sentence: str | None = None
    position: str | None = None
    explicit: frozenset[str] = frozenset()


COLUMN_FIELDS = tuple(_KNOWN_NAMES)
"""The fields of `Columns` that hold a column name."""


def find_columns(
    dataset: "AnyRows",
    source: str,
    selected: Mapping[str, str | None],
    *,
    needs_annotation: bool = True,
) -> Columns:
    """Find the columns of tokens and tags, or of text and entities.

    dataset (AnyRows): The rows.
    source (str): The dataset and its split, for messages.
    selected (Mapping[str, str | None]): The user's choice for each field of `Columns`: a column
        name, "" for no column, or None to look for the usual names.
    needs_annotation (bool): Whether data without annotation are an error.
    RETURNS (Columns): The columns of tokens and tags, or those of text and entities.
    RAISES (CorpusError): There are no rows, a selected column is missing, there are neither tokens
        nor texts, or annotation is needed and missing.
    """
    features = _features(dataset, source)
    names: dict[str, str | None] = {}
    for field, known in _KNOWN_NAMES.items():
        name = selected.get(field)
        if name and name not in features:
            raise CorpusError(
                f"{source}: no column {name!r} ({field}_column): choose one of "
                f"{', '.join(features)}"
            )
        if name is None:
            usable = (column for column in known if column in features)
            name = next((c for c in usable if _is_usable(field, features[c])), None)
        names[field] = name or None
    explicit = frozenset(field for field, name in selected.items() if name)
    folded = {re.sub(r"[\s_.-]", "", name.lower()): name for name in reversed([*features])}
    if "tokens" in explicit or not (names["tokens"] or names["text"]):
        for field, known in _TABLE_NAMES.items():
            # A single number is no tag, and an object is a column of another form of JSON.
            found = (folded[name] for name in known if name in folded)
            if names[field] is None and selected.get(field) != "":
                names[field] = next((c for c in found if _is_usable(field, features[c])), None)
    columns = Columns(**names, explicit=explicit)
    if columns.tokens and _kind(features[columns.tokens]) == "text":
        columns = columns._replace(**_place_columns(columns, folded, selected))
    if not columns.tokens and not columns.text:
        raise CorpusError(f"{source}: {_why_no_tokens(features)}")
    ner = columns.ner
    if columns.text and ner and ner == columns.entities and _kind(features[ner]) == "objects":
        columns = columns._replace(ner=None)
    tagged = any(getattr(columns, layer) for layer in LAYERS)
    prefers_text = explicit & {"text", "entities"} or (columns.entities and not tagged)
    if columns.text and (not columns.tokens or (prefers_text and "tokens" not in explicit)):
        columns = columns._replace(tokens=None, ner=None, pos=None, chunk=None, document=None)
        if needs_annotation and not columns.entities:
            raise CorpusError(
                f"{source}: no annotation for the column {columns.text!r}: set entities_column to "
                f"one of {', '.join(features)}; if its tokens are separated by spaces and have "
                f"tags in another column, set tokens_column to {columns.text!r}"
            )
        return columns
    if needs_annotation and not tagged:
        raise CorpusError(
            f"{source}: no annotation: set ner_column, pos_column or chunk_column to one of "
            f"{', '.join(features)}"
        )
    return columns._replace(text=None, entities=None)


def _place_columns(
    columns: Columns, folded: Mapping[str, str], selected: Mapping[str, str | None]
) -> dict[str, Any]:
    """Find the columns of a table with one token per row that place the token."""
    found = {}
    for field, known in _PLACE_NAMES.items():
        free = (folded[name] for name in known if name in folded and folded[name] not in columns)
        name = next(free, None)
        if name and getattr(columns, field) is None and selected.get(field) != "":
            found[field] = name
    return found


def _why_no_tokens(features: Mapping[str, Any]) -> str:
    names = ", ".join(features)
    separator = re.search(r"[;|\t]", names) if len(features) == 1 else None
    if separator:
        return f"one column, {names!r}: set separator, which seems to be {separator[0]!r}"
    nested = [
        name
        for name, feature in features.items()
        if isinstance(feature, Mapping) or _kind(feature) == "objects"
    ]
    if nested:
        return (
            f"no column of tokens, but objects or lists of lists in {', '.join(nested)}: a JSON "
            "file must be a list of rows, or have one row per line. A row has tokens and tags, or "
            "a text and entities as Prodigy, doccano, Label Studio or spaCy write them. Convert "
            "the file; if it has such rows with other names, set tokens_column or text_column to "
            f"one of {names}"
        )
    return (
        "no column of tokens: set tokens_column, or text_column for texts with character offsets, "
        f"to one of {names}"
    )


def _features(dataset: "AnyRows", source: str) -> Mapping[str, Any]:
    """Get the feature of each column, or a value of it if there are no features."""
    if isinstance(dataset, JsonRows):
        features = dataset.values
    else:
        # The columns of a stream may be unknown until a row is read.
        features = dataset.features or next(iter(dataset), {})
    if not features:
        raise CorpusError(f"{source}: no rows: choose another split, or check the data files")
    return dict(features)


def object_columns(features: Mapping[str, Any]) -> set[str]:
    """Find the columns that may hold entities.

    features (Mapping[str, Any]): The feature of each column.
    RETURNS (set[str]): The names of columns of lists of objects, or of any JSON.
    """
    return {name for name, feature in features.items() if _kind(feature) in _KINDS["entities"]}


def _is_usable(field: str, feature: Any) -> bool:
    """Check whether the feature or value of a column fits the field that its name suggests."""
    return field == "document" or feature == [] or _kind(feature) in _KINDS[field]


def _kind(feature: Any) -> str:
    """Classify a column as "items" (one per token), "objects", "text", "mixed" or "other"."""
    if isinstance(feature, Mapping):
        return "objects" if feature.keys() & set(LABELS) else "other"
    item = (
        feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    )
    if isinstance(item, Mapping | list) or getattr(item, "feature", None) is not None:
        return "objects"
    if item is not None:
        return "items"
    if isinstance(feature, str) or getattr(feature, "dtype", None) in ("string", "large_string"):
        return "text"
    # `datasets` uses the feature Json for a column whose rows have different types.
    return "mixed" if type(feature).__name__ == "Json" else "other"
