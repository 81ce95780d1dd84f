"""Find the columns of a dataset, and turn its rows into sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from datasets import ClassLabel, Value  # type: ignore[import-untyped]

from .hub import AnyDataset
from .sentences import CorpusError, Sentence

BATCH_SIZE = 1000
_KNOWN_NAMES = {
    "tokens": ("tokens", "words"),
    "ner": ("ner_tags", "ner", "labels", "tags"),
    "pos": ("pos_tags", "pos", "upos", "xpos"),
    "chunk": ("chunk_tags", "chunk", "chunks"),
    "document": ("document_id", "doc_id"),
}


class Columns(NamedTuple):
    """The columns of a dataset by what they hold; None where there is none."""

    tokens: str
    ner: str | None
    pos: str | None
    chunk: str | None
    document: str | None


def find_columns(
    dataset: AnyDataset,
    source: str,
    wanted: Mapping[str, str | None],
    *,
    needs_annotation: bool = True,
) -> Columns:
    """Settle which column holds what.

    dataset (AnyDataset): The rows.
    source (str): The dataset and its split, for messages.
    wanted (Mapping[str, str | None]): For each field of `Columns` the user's choice: a name, ""
        for none, None to look for one of the usual names.
    needs_annotation (bool): Whether tokens alone are too little.
    RETURNS (Columns): The columns.
    RAISES (CorpusError): No rows; a column that is not there; no tokens, or nothing but tokens.
    """
    features = _features(dataset, source)
    found: dict[str, str | None] = {}
    for field, known in _KNOWN_NAMES.items():
        name = wanted[field]
        if name and name not in features:
            raise CorpusError(
                f"{source}: no column {name!r} ({field}_column): there are {', '.join(features)}"
            )
        if name is None:
            usable = (column for column in known if column in features)
            name = next(
                (c for c in usable if field == "document" or _is_sequence(features[c])), None
            )
        found[field] = name or None
    tokens = found.pop("tokens")
    if tokens is None:
        raise CorpusError(
            f"{source}: no column of tokens: give tokens_column, one of {', '.join(features)}"
        )
    columns = Columns(tokens=tokens, **found)
    if needs_annotation and not (columns.ner or columns.pos or columns.chunk):
        raise CorpusError(
            f"{source}: no annotation: give ner_column, pos_column or chunk_column, "
            f"of {', '.join(features)}"
        )
    return columns


def _features(dataset: AnyDataset, source: str) -> Mapping[str, Any]:
    if dataset.features:
        return dict(dataset.features)
    # A stream may not know its columns before it has read a row.
    first = next(iter(dataset), None)
    if first is None:
        raise CorpusError(f"{source}: no rows: choose another split, or check the data files")
    return dict(first)


def _is_sequence(feature: object) -> bool:
    """Whether a column, known by its feature or by a value, holds one item a token."""
    return (
        isinstance(feature, str | list)
        or getattr(feature, "feature", None) is not None
        or (isinstance(feature, Value) and feature.dtype in ("string", "large_string"))
    )


def _tag_table(
    dataset: AnyDataset, column: str, tag_names: Mapping[str, Sequence[str]]
) -> dict[int, str] | None:
    """Make the table from tag numbers to tags, None for a column without one."""
    names = tag_names.get(column)
    if names is None and dataset.features:
        label = getattr(dataset.features[column], "feature", None)
        names = label.names if isinstance(label, ClassLabel) else None
    # A dict, not the list: a negative number (often "no label") must not count from its end.
    return None if names is None else dict(enumerate(names))


def read_rows(
    dataset: AnyDataset,
    source: str,
    columns: Columns,
    tag_names: Mapping[str, Sequence[str]],
) -> Iterator[Sentence]:
    """Read rows as sentences, from the first row each time.

    A list column is taken as it is; a text column is split at white space.

    dataset (AnyDataset): The rows.
    source (str): The dataset and its split, for messages.
    columns (Columns): Which column holds what.
    tag_names (Mapping[str, Sequence[str]]): For columns of plain numbers, the tags in order.
    YIELDS (Sentence): One a row.
    RAISES (CorpusError): A missing value; a number without a name.
    """
    layers = {
        field: (column, _tag_table(dataset, column, tag_names))
        for field, column in zip(("words", "ner", "pos", "chunks"), columns, strict=False)
        if column
    }
    needed = sorted({column for column in columns if column})
    # with_format: a saved dataset may remember that it was last used as tensors.
    batches = dataset.select_columns(needed).with_format(None).iter(batch_size=BATCH_SIZE)
    row = 0
    for batch in batches:
        for i in range(len(batch[columns.tokens])):
            annotation: dict[str, Any] = {
                field: _strings(batch[column][i], table, column, source, row)
                for field, (column, table) in layers.items()
            }
            document = batch[columns.document][i] if columns.document else None
            yield Sentence(source=source, row=row, document=document, **annotation)
            row += 1


def _strings(
    value: Any, table: Mapping[int, str] | None, column: str, source: str, row: int
) -> list[str]:
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list):
        raise CorpusError(f"{source}, row {row}: {column!r} holds {value!r}, not one item a token")
    if table is not None:
        try:
            return [table[item] for item in value]
        except (KeyError, TypeError):
            strange = next(item for item in value if not isinstance(item, int) or item not in table)
            raise CorpusError(
                f"{source}, row {row}: {column!r} holds {strange!r}, but its tags are numbered "
                f"0 to {len(table) - 1}: drop the rows that nobody annotated, or mend the names"
            ) from None
    for item in value:
        if not isinstance(item, str):
            advice = (
                f"give tag_names = {{{column!r}: [the tags in order]}}, or cast the column to "
                "List(ClassLabel(names=...))"
                if isinstance(item, int)
                else "give a column that holds one string a token"
            )
            raise CorpusError(f"{source}, row {row}: {column!r} holds {item!r}, no text: {advice}")
    return value
