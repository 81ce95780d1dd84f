"""Find the columns of a dataset, and turn its rows into sentences, or texts with offsets."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .json_rows import JsonRows
from .offsets import AnnotatedText, read_entities
from .sentences import CorpusError, Sentence

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset  # type: ignore[import-untyped]

    AnyRows: TypeAlias = Dataset | IterableDataset | JsonRows

logger = logging.getLogger(__name__)

BATCH_SIZE = 1000
_KNOWN_NAMES = {
    "tokens": ("tokens", "words"),
    "ner": ("ner_tags", "ner", "labels", "tags"),
    "pos": ("pos_tags", "pos", "upos", "xpos"),
    "chunk": ("chunk_tags", "chunk", "chunks"),
    "document": ("document_id", "doc_id"),
    "text": ("text", "data"),
    "entities": ("entities", "spans", "label", "labels", "annotations"),
}
_LAYERS = ("ner", "pos", "chunk")
_KINDS = {
    **dict.fromkeys(_LAYERS, ("items", "objects", "text", "mixed")),
    "tokens": ("items", "text", "mixed"),  # Prodigy's are objects
    "text": ("text",),
    "entities": ("objects", "mixed"),
}


class Columns(NamedTuple):
    """The columns of a dataset by what they hold; None where there is none.

    Rows have either `tokens` and tags, or a `text` and its `entities` by character offsets.

    asked (frozenset[str]): The fields whose column the user named.
    """

    tokens: str | None = None
    ner: str | None = None
    pos: str | None = None
    chunk: str | None = None
    document: str | None = None
    text: str | None = None
    entities: str | None = None
    asked: frozenset[str] = frozenset()


COLUMN_FIELDS = tuple(_KNOWN_NAMES)
"""The fields of `Columns` that hold a column."""


def find_columns(
    dataset: "AnyRows",
    source: str,
    wanted: Mapping[str, str | None],
    *,
    needs_annotation: bool = True,
) -> Columns:
    """Settle which column holds what.

    dataset (AnyRows): The rows.
    source (str): The dataset and its split, for messages.
    wanted (Mapping[str, str | None]): For each field of `Columns` the user's choice: a name, ""
        for none, None to look for one of the usual names.
    needs_annotation (bool): Whether tokens alone are too little.
    RETURNS (Columns): The columns: those of tokens and tags, or those of text and entities.
    RAISES (CorpusError): No rows; a column that is not there; no tokens, or nothing but tokens.
    """
    features = _features(dataset, source)
    found: dict[str, str | None] = {}
    for field, known in _KNOWN_NAMES.items():
        name = wanted.get(field)
        if name and name not in features:
            raise CorpusError(
                f"{source}: no column {name!r} ({field}_column): there are {', '.join(features)}"
            )
        if name is None:
            usable = (column for column in known if column in features)
            name = next((c for c in usable if _is_usable(field, features[c])), None)
        found[field] = name or None
    columns = Columns(**found, asked=frozenset(field for field, name in wanted.items() if name))
    if not columns.tokens and not columns.text:
        raise CorpusError(
            f"{source}: no column of tokens: give tokens_column, one of {', '.join(features)}, or "
            "text_column for texts with character offsets"
        )
    own = columns.ner
    if columns.text and own and own == columns.entities and _kind(features[own]) == "objects":
        columns = columns._replace(ner=None)
    tagged = any(getattr(columns, layer) for layer in _LAYERS)
    prefers_text = columns.asked & {"text", "entities"} or (columns.entities and not tagged)
    if columns.text and (not columns.tokens or (prefers_text and "tokens" not in columns.asked)):
        columns = Columns(text=columns.text, entities=columns.entities, asked=columns.asked)
        if needs_annotation and not columns.entities:
            raise CorpusError(
                f"{source}: no annotation of the column {columns.text!r}: give entities_column, "
                f"of {', '.join(features)}"
            )
        return columns
    if needs_annotation and not tagged:
        raise CorpusError(
            f"{source}: no annotation: give ner_column, pos_column or chunk_column, "
            f"of {', '.join(features)}"
        )
    return columns._replace(text=None, entities=None)


def _features(dataset: "AnyRows", source: str) -> Mapping[str, Any]:
    """Find what each column holds: its feature, or a value."""
    if isinstance(dataset, JsonRows):
        values = dataset.values()
        if not values:
            raise CorpusError(f"{source}: no rows: choose another split, or check the data files")
        return values
    if dataset.features:
        return dict(dataset.features)
    # A stream may not know its columns before it has read a row.
    first = next(iter(dataset), None)
    if first is None:
        raise CorpusError(f"{source}: no rows: choose another split, or check the data files")
    return dict(first)


def _is_usable(field: str, feature: Any) -> bool:
    """Whether a column, known by its feature or by a value, can be what its name says."""
    return field == "document" or feature == [] or _kind(feature) in _KINDS[field]


def _kind(feature: Any) -> str:
    """Tell "items" (one a token), "objects", "text", "mixed" and "other" columns apart."""
    if isinstance(feature, Mapping):
        return "objects" if "label" in feature or "labels" in feature else "other"
    item = (
        feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    )
    if isinstance(item, Mapping | list) or getattr(item, "feature", None) is not None:
        return "objects"
    if item is not None:
        return "items"
    if isinstance(feature, str) or getattr(feature, "dtype", None) in ("string", "large_string"):
        return "text"
    # What `datasets` makes of a column in which one row is of another type.
    return "mixed" if type(feature).__name__ == "Json" else "other"


class RowReader:
    """Reads the rows of a dataset, from the first each time.

    dataset (AnyRows): The rows.
    source (str): The dataset and its split, for messages.
    columns (Columns): Which column holds what.
    tag_names (Mapping[str, Sequence[str]]): For columns of plain numbers, the tags in order.
    """

    def __init__(
        self,
        dataset: "AnyRows",
        source: str,
        columns: Columns,
        tag_names: Mapping[str, Sequence[str]],
    ) -> None:
        self.dataset = dataset
        self.source = source
        self.columns = columns
        self.tables = {
            column: _tag_table(dataset, column, tag_names)
            for field in (*_LAYERS, "entities")
            if (column := getattr(columns, field))
        }
        self._types: dict[str, type] = {}
        self._reported: set[str] = set()

    def sentences(self) -> Iterator[Sentence]:
        """Read rows of tokens. A list column is taken as it is; a text is split at white space.

        A column of parts of speech or chunks that the user did not name is missing in rows in which
        it cannot be read; a warning names the first.

        YIELDS (Sentence): One a row.
        RAISES (CorpusError): A missing value; a number without a name; a list in a column of text,
            or the other way round.
        """
        columns = self.columns
        for source, number, row in self._rows():
            place = f"{source}, row {number}"
            words = self._items(columns.tokens or "", row, place)
            ner = self._items(columns.ner, row, place) if columns.ner else None
            yield Sentence(
                source=source,
                words=words,
                ner=ner,
                pos=self._optional_items("pos", len(words), row, place),
                chunks=self._optional_items("chunk", len(words), row, place),
                document=row.get(columns.document) if columns.document else None,
                row=number,
            )

    def _items(self, column: str, row: Mapping[str, Any], place: str) -> list[str]:
        value = row.get(column)
        kind = self._types.setdefault(column, type(value))
        if value is not None and kind is not type(value):
            raise CorpusError(
                f"{place}: {column!r} holds {value!r}, but other rows have a {kind.__name__} "
                "there: make them alike"
            )
        return _strings(value, self.tables.get(column), column, place)

    def _optional_items(
        self, field: str, n_words: int, row: Mapping[str, Any], place: str
    ) -> list[str] | None:
        column = getattr(self.columns, field)
        if column is None:
            return None
        try:
            items = self._items(column, row, place)
            if len(items) != n_words:
                raise CorpusError(
                    f"{place}: {column!r} has {len(items)} tags for {n_words} tokens: fix the row, "
                    "or name the columns that belong together"
                )
        except CorpusError as err:
            if field in self.columns.asked:
                raise
            if column not in self._reported:
                self._reported.add(column)
                logger.warning(
                    "%s. Such rows are read without it. %s_column = %r makes it an error, and "
                    '%s_column = "" leaves the column out',
                    *(err, field, column, field),
                )
            return None
        return items

    def texts(self) -> Iterator[AnnotatedText]:
        """Read rows of texts. Rows that a Prodigy user rejected or ignored are left out.

        YIELDS (AnnotatedText): One a row.
        RAISES (CorpusError): No text in a row; entities that cannot be read.
        """
        columns = self.columns
        skipped = 0
        for source, number, row in self._rows():
            place = f"{source}, row {number}"
            if row.get("answer", "accept") != "accept":
                skipped += 1
                continue
            text = row.get(columns.text or "")
            if not isinstance(text, str):
                raise CorpusError(f"{place}: {columns.text!r} holds {text!r}, no text")
            entities = None
            if columns.entities:
                value = row.get(columns.entities)
                if value is None and "answer" in row:
                    value = []  # Prodigy: accepted, and nothing marked
                table = self.tables[columns.entities]
                entities = read_entities(text, value, place, columns.entities, table)
            yield AnnotatedText(place, text, entities)
        if skipped:
            logger.warning("%s: %d rows left out that nobody accepted", self.source, skipped)

    def _rows(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        """Yield the source of a row, its number from 0, and the row."""
        if isinstance(self.dataset, JsonRows):
            yield from self.dataset
            return
        names = {getattr(self.columns, field) for field in COLUMN_FIELDS} - {None}
        if self.columns.text and "answer" in (self.dataset.features or ()):
            names.add("answer")
        needed = sorted(names)
        number = 0
        # with_format: a saved dataset may remember that it was last used as tensors.
        for batch in self.dataset.select_columns(needed).with_format(None).iter(BATCH_SIZE):
            for values in zip(*(batch[column] for column in needed), strict=True):
                yield self.source, number, dict(zip(needed, values, strict=True))
                number += 1


def _tag_table(
    dataset: "AnyRows", column: str, tag_names: Mapping[str, Sequence[str]]
) -> dict[int, str] | None:
    """Make the table from tag numbers to tags, None for a column without one."""
    names = tag_names.get(column)
    if names is None and not isinstance(dataset, JsonRows) and dataset.features:
        label = getattr(dataset.features[column], "feature", None)
        if isinstance(label, Mapping):
            label = label.get("label")
        names = getattr(label, "names", None)  # of a ClassLabel
    # A dict, not the list: a negative number (often "no label") must not count from its end.
    return None if names is None else dict(enumerate(names))


def _strings(value: Any, table: Mapping[int, str] | None, column: str, place: str) -> list[str]:
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list):
        raise CorpusError(
            f"{place}: {column!r} holds {value!r}, not one item a token: give a list of as many "
            "items as tokens, [] where there are none, or drop the rows that nobody annotated"
        )
    if table is not None:
        try:
            return [table[item] for item in value]
        except (KeyError, TypeError):
            strange = next(item for item in value if not isinstance(item, int) or item not in table)
            raise CorpusError(
                f"{place}: {column!r} holds {strange!r}, but its tags are numbered 0 to "
                f"{len(table) - 1}: drop the rows that nobody annotated, or correct the names"
            ) from None
    for item in value:
        if not isinstance(item, str):
            advice = (
                f"give tag_names = {{{column!r}: [the tags in order]}}, or cast the column to "
                "List(ClassLabel(names=...))"
                if isinstance(item, int)
                else "give a column that holds one string a token"
            )
            raise CorpusError(f"{place}: {column!r} holds {item!r}, no text: {advice}")
    return value
