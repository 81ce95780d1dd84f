"""Convert the rows of a dataset to sentences, or to texts with offsets."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from .columns import COLUMN_FIELDS, ENTITIES, LAYERS, TOKENS, Columns, object_columns
from .csv_rows import CsvRows
from .json_rows import JsonRows
from .offsets import (
    LABELS,
    AnnotatedText,
    Entity,
    find_ends,
    holds_entities,
    holds_regions,
    may_be_of_tokens,
    read_entities,
)
from .sentences import CorpusError, Sentence
from .tables import Row, is_table, join_tokens
from .weights import LARGEST

if TYPE_CHECKING:
    from .columns import AnyRows

logger = logging.getLogger(__name__)

BATCH_SIZE = 1000
# Keys in each row that Label Studio (JSON-MIN) or doccano writes. Both leave out the entities of a
# text that has none.
_ALWAYS = {"annotation_id", "annotator", "Comments"}
# As pandas writes a list to CSV: "['Ada', 'left']" or "[1, 0]".
_LIST_AS_TEXT = re.compile(r"\s*\[\s*(['\"].*['\"]|\d+(?:[\s,]+\d+)*)\s*\]\s*", re.DOTALL)


class RowReader:
    """Read the rows of a dataset. Each iteration starts at the first row.

    dataset (AnyRows): The rows.
    source (str): The dataset and its split, for messages.
    columns (Columns): The columns to read.
    tag_names (Mapping[str, Sequence[str]]): The tags, in order, of columns that hold tag numbers
        without a ClassLabel feature.
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
        self._tag_tables = {
            column: _tag_table(dataset, column, tag_names)
            for field in (*LAYERS, "entities")
            if (column := getattr(columns, field))
        }
        values = dataset.values if isinstance(dataset, JsonRows) else {}
        self._types = {name: type(value) for name, value in values.items() if value is not None}
        self._reported: set[str] = set()

    def sentences(self) -> Iterator[Sentence]:
        """Read rows of tokens. Values of text columns are split at whitespace.

        If a part-of-speech or chunk column was not named by the user, invalid values in it are
        read as missing. A warning names the first such row.

        YIELDS (Sentence): One per row, or one for all rows of a sentence.
        RAISES (CorpusError): A value is missing, a tag number has no name, a column mixes lists and
            texts, or each row holds a token and nothing marks where sentences end.
        """
        if self._is_table:
            yield from join_tokens(self._rows(), self.columns, self._sentence)
            return
        for source, number, row in self._rows():
            yield self._sentence(source, number, row)

    @cached_property
    def _is_table(self) -> bool:
        return is_table(islice(self._rows(), BATCH_SIZE), self.columns)

    def _sentence(self, source: str, number: int, row: Mapping[str, Any]) -> Sentence:
        columns = self.columns
        place = f"{source}, row {number}"
        words = self._words(row, place)
        return Sentence(
            source=source,
            words=words,
            ner=self._items(columns.ner, row, place) if columns.ner else None,
            pos=self._optional_items("pos", len(words), row, place),
            chunks=self._optional_items("chunk", len(words), row, place),
            document=row.get(columns.document) if columns.document else None,
            row=number,
            weight=self._weight(row, place),
        )

    def _words(self, row: Mapping[str, Any], place: str) -> list[str]:
        column = self.columns.tokens or ""
        value = row.get(column)
        if not self._is_table or not isinstance(value, str) or not value.strip():
            return self._items(column, row, place)
        word = value.strip()
        if len(word.splitlines()) > 1:
            raise CorpusError(
                f"{place}: {column!r} holds a token of several lines, {word[:40]!r}: fix the row; "
                'in CSV, the token " is written as """"'
            )
        return [word]

    def _weight(self, row: Mapping[str, Any], place: str) -> float:
        column = self.columns.weight
        if column is None:
            return 1.0
        value: Any = row.get(column)
        if isinstance(self.dataset, CsvRows):
            with suppress(TypeError, ValueError):
                value = float(value)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= LARGEST
        ):
            raise CorpusError(
                f"{place}: {column!r} holds {value!r}, not a weight: use a number of at least 0"
            )
        return float(value)

    def _items(self, column: str, row: Mapping[str, Any], place: str) -> list[str]:
        value = row.get(column)
        types = self._types
        if value is not None and types.setdefault(column, type(value)) is not type(value):
            raise CorpusError(
                f"{place}: {column!r} holds {value!r}, but other rows hold a "
                f"{types[column].__name__}: use one type in all rows"
            )
        return _strings(value, self._tag_tables.get(column), column, place)

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
                    f"or set tokens_column and {field}_column to columns that belong together"
                )
        except CorpusError as err:
            if field in self.columns.explicit:
                raise
            if column not in self._reported:
                self._reported.add(column)
                logger.warning(
                    "%s. Such rows are read without this column. Set %s_column = %r to make this "
                    'an error, or %s_column = "" to ignore the column',
                    *(err, field, column, field),
                )
            return None
        return items

    def texts(self) -> Iterator[AnnotatedText]:
        """Read rows of texts. Rows that were rejected or ignored in Prodigy are left out.

        If an answer accepts one entity (Prodigy's ner.teach), the other tokens are unknown.

        YIELDS (AnnotatedText): One per row.
        RAISES (CorpusError): A row has no text or an unknown answer, or its entities cannot be
            read.
        """
        columns = self.columns
        skipped = binary = 0
        for source, number, row in self._rows():
            place = f"{source}, row {number}"
            answer = row.get("answer", "accept")
            if answer not in ("accept", "reject", "ignore"):
                raise CorpusError(
                    f"{place}: 'answer' holds {answer!r}: use accept, reject or ignore"
                )
            if answer != "accept":
                skipped += 1
                continue
            text = row.get(columns.text or "")
            if not isinstance(text, str):
                raise CorpusError(
                    f"{place}: {columns.text!r} holds {text!r}, not a text: fix the row, or set "
                    "text_column"
                )
            entities = self._entities(row, text, place) if columns.entities else None
            is_binary = row.get("_view_id") == "ner" or row.get("_is_binary") is True
            binary += is_binary
            yield AnnotatedText(
                place, text, entities, self._weight(row, place), complete=not is_binary
            )
        if binary:
            logger.warning(
                "%s: %d rows answer whether an entity is correct (Prodigy's ner.teach): all other "
                "tokens of these texts are read as unknown",
                *(self.source, binary),
            )
        if skipped:
            logger.warning(
                "%s: %d rows left out: they were rejected or ignored", self.source, skipped
            )

    def _entities(self, row: Mapping[str, Any], text: str, place: str) -> list[Entity]:
        column = self.columns.entities or ""
        value = row.get(column)
        if "entities" not in self.columns.explicit or value is None:
            _check_other_columns(row, column, place)
        is_left_out = column not in row and row.keys() & _ALWAYS
        if value is None and ("answer" in row or is_left_out):
            odd = next((name for name in row if holds_regions(row[name])), None)
            if odd and is_left_out:
                raise CorpusError(
                    f"{place}: parts of the text in {odd!r}, but none in {column!r}: label them, "
                    f"or add {column!r} with [] if there are no entities"
                )
            value = []  # accepted without entities
        entities = read_entities(text, value, place, column, self._tag_tables[column])
        tokens = next((row[name] for name in TOKENS if name in row), None)
        if may_be_of_tokens(text, tokens, value, entities) and not self._are_of_characters:
            raise CorpusError(
                f"{place}: the offsets in {column!r} may be those of characters or of tokens: "
                "convert them to those of characters, and remove the tokens or add the text of "
                "each entity"
            )
        return entities

    @cached_property
    def _are_of_characters(self) -> bool:
        """Whether an offset of the first rows is too large for that of a token."""
        for _, _, row in islice(self._rows(), BATCH_SIZE):
            tokens = next((row[name] for name in TOKENS if name in row), None)
            ends = find_ends(row.get(self.columns.entities or ""))
            if isinstance(tokens, list) and any(end > len(tokens) for end in ends):
                return True
        return False

    def _rows(self) -> Iterator[Row]:
        """Yield the source of each row, its number from 0, and the row."""
        if isinstance(self.dataset, JsonRows):
            yield from self.dataset
            return
        fields = (*COLUMN_FIELDS, "sentence", "position")
        names = {getattr(self.columns, field) for field in fields} - {None}
        if self.columns.text:
            features = self.dataset.features or {}
            names |= {"answer", "_view_id", "_is_binary", *TOKENS} & features.keys()
            names |= object_columns(features)
        needed = sorted(names)
        number = 0
        # with_format: a dataset may have been saved with a tensor format.
        for batch in self.dataset.select_columns(needed).with_format(None).iter(BATCH_SIZE):
            for values in zip(*(batch[column] for column in needed), strict=True):
                yield self.source, number, dict(zip(needed, values, strict=True))
                number += 1


def _check_other_columns(row: Mapping[str, Any], column: str, place: str) -> None:
    # Lists such as [0, 4, "nsubj"] are entities only in a column with a usual name.
    odd = next(
        (
            name
            for name, value in row.items()
            if name != column
            and holds_entities(value)
            and (isinstance(value, Mapping) or isinstance(value[0], Mapping) or name in ENTITIES)
        ),
        None,
    )
    if odd is None:
        return
    if row.get(column):
        raise CorpusError(
            f"{place}: entities in {odd!r}, and in {column!r}: set entities_column to one of them"
        )
    raise CorpusError(
        f"{place}: entities in {odd!r}, and not in {column!r}: rename the key, or set "
        "entities_column"
    )


def _tag_table(
    dataset: "AnyRows", column: str, tag_names: Mapping[str, Sequence[str]]
) -> dict[int, str] | None:
    """Map tag numbers to tags; None if the column has no tag names."""
    names = tag_names.get(column)
    if names is None and not isinstance(dataset, JsonRows) and dataset.features:
        feature = dataset.features[column]
        label = getattr(feature, "feature", feature)
        if isinstance(label, Mapping):
            label = next((label[key] for key in LABELS if key in label), None)
            label = getattr(label, "feature", label)
        names = getattr(label, "names", None)  # of a ClassLabel
    # A dict, not a list: a negative number (often "no label") must not index from the end.
    return None if names is None else dict(enumerate(names))


def _strings(value: Any, table: Mapping[int, str] | None, column: str, place: str) -> list[str]:
    if isinstance(value, str):
        if _LIST_AS_TEXT.fullmatch(value):
            raise CorpusError(
                f"{place}: {column!r} holds a list that was written as a text, {value[:40]!r}: "
                "convert the data to JSON lines or parquet"
            )
        value = value.split()
    if not isinstance(value, list):
        raise CorpusError(
            f"{place}: {column!r} holds {value!r}, not one item per token: use a list with one "
            "item per token ([] if there are no tokens), or drop the rows without annotation"
        )
    types = set(map(type, value))
    if table is not None:
        # Not only `table[item]`: True is equal to 1.
        if types <= {int} and table.keys() >= set(value):
            return list(map(table.__getitem__, value))
        invalid = next(item for item in value if type(item) is not int or item not in table)
        raise CorpusError(
            f"{place}: {column!r} holds {invalid!r}, but its tags are numbered 0 to "
            f"{len(table) - 1}: drop the rows without annotation, or fix tag_names"
        )
    if types <= {str}:
        return value
    invalid = next(item for item in value if type(item) is not str)
    advice = (
        f"set tag_names = {{{column!r}: [the tags in order]}}, or cast the column to "
        "List(ClassLabel(names=...))"
        if isinstance(invalid, int)
        else "use a column that holds one string per token"
    )
    raise CorpusError(f"{place}: {column!r} holds {invalid!r}, not a string: {advice}")
