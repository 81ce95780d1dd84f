"""Tables with one token per row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from .columns import LAYERS, Columns
from .sentences import CorpusError, Sentence

Row: TypeAlias = tuple[str, int, Mapping[str, Any]]
"""The source of a row, its number from 0, and its values by column."""


def is_table(rows: Iterable[Row], columns: Columns) -> bool:
    """Check whether each row holds a token: most rows have one token with one tag.

    rows (Iterable[Row]): The first rows.
    columns (Columns): The columns.
    RETURNS (bool): Whether they do.
    RAISES (CorpusError): They do, and nothing marks where sentences end.
    """
    layer = next((name for name in (columns.ner, columns.pos, columns.chunk) if name), None)
    words = tags = 0
    has_sentences = False
    numbers: list[object] = []
    runs = [0]  # numbers of rows between blank ones
    first = ""
    for source, number, row in rows:
        if _is_blank(row, columns):
            runs.append(0)
            continue
        word, tag = row.get(columns.tokens or ""), row.get(layer or columns.tokens or "")
        if isinstance(word, list):
            return False
        runs[-1] += 1
        first = first or f"{source}, row {number}"
        words += isinstance(word, str) and len(word.split()) == 1
        tags += isinstance(tag, str) and len(tag.split()) == 1
        has_sentences |= len(str(tag).split()) > 1
        numbers.append(row.get(columns.sentence or ""))
    n_rows = sum(runs)
    if n_rows < 2 or 2 * tags <= n_rows or 2 * words < n_rows:
        return False
    # In a file in which every second line is empty, empty lines do not separate sentences.
    is_separated = sum(map(bool, runs)) > 1 and max(runs) > 1
    if has_sentences and (not columns.sentence or len({*map(str, numbers)}) == len(numbers)):
        return False
    if not columns.sentence and not is_separated:
        raise CorpusError(
            f"{first}: each row holds one token, and nothing marks where a sentence ends: add "
            "a column sentence_id with the number of the sentence or empty rows between "
            "sentences, or put the tokens of a sentence into one row"
        )
    return True


def join_tokens(
    rows: Iterable[Row], columns: Columns, read: Callable[[str, int, Mapping[str, Any]], Sentence]
) -> Iterator[Sentence]:
    """Join the rows of a table to sentences.

    A sentence ends where its number or the document changes. Without numbers, it ends at a blank
    row.

    rows (Iterable[Row]): The rows.
    columns (Columns): The columns.
    read (Callable): Reads a row as a sentence of one token.
    YIELDS (Sentence): The sentences.
    RAISES (CorpusError): The rows of a sentence are in several places, or cannot be joined.
    """
    parts: list[Sentence] = []
    seen: set[tuple[object, object]] = set()
    current: tuple[object, object] = (None, None)
    indices: list[object] = []
    for source, number, row in rows:
        if _is_blank(row, columns):
            if parts and not columns.sentence:
                yield _join(parts)
                parts = []
            continue
        part = read(source, number, row)
        name = _place(part, row.get(columns.sentence or ""), current)
        if name != current and parts:
            yield _join(parts)
            parts = []
        if name != current and columns.sentence:
            if name in seen:
                raise CorpusError(
                    f"{part.place()}: the sentence {name[1]!r} in {columns.sentence!r} has rows "
                    "in several places: sort the rows, give each sentence a value of its own, "
                    "or add a column document_id"
                )
            seen.add(name)
        current = name
        index = row.get(columns.position or "")
        if not parts:
            indices = []
        if indices and index == indices[0] and _counts_up(indices):
            raise CorpusError(
                f"{part.place()}: {columns.position!r} starts again at {index!r} within a "
                "sentence: give each sentence a number of its own, or add a column document_id"
            )
        indices.append(index)
        parts.append(part._replace(document=name[0]))
    if parts:
        yield _join(parts)


def _place(
    part: Sentence, sentence: object, before: tuple[object, object]
) -> tuple[object, object]:
    """Get the document and the sentence of a row.

    Spreadsheets may name them in their first row only.

    sentence (object): The value in the column of sentences.
    before (tuple[object, object]): The document and the sentence of the row before.
    RAISES (CorpusError): A value is a list or an object.
    """
    document = before[0] if _is_empty(part.document) else part.document
    if _is_empty(sentence):
        sentence = before[1] if document == before[0] else None
    if any(isinstance(value, list | Mapping) for value in (document, sentence)):
        raise CorpusError(
            f"{part.place()}: {document!r} and {sentence!r} do not name a document and a sentence: "
            "use numbers or texts"
        )
    return document, sentence


def _is_blank(row: Mapping[str, Any], columns: Columns) -> bool:
    """Check whether a row of a table has neither a token nor a tag."""
    if not _is_empty(row.get(columns.tokens or "")):
        return False
    names = (columns.sentence, *(getattr(columns, layer) for layer in LAYERS))
    return all(_is_empty(row.get(name)) for name in names if name)


def _is_empty(value: object) -> bool:
    """Check whether a cell is null, NaN or white space."""
    if isinstance(value, str):
        return not value.strip()
    # NaN, which stands for an empty cell, is not equal to itself.
    return value is None or value != value  # noqa: PLR0124


def _counts_up(values: Sequence[object]) -> bool:
    """Check whether values number the tokens, and are no others, such as those of a vocabulary."""
    numbers = [int(str(value)) for value in values if str(value).strip().isdecimal()]
    return len(numbers) == len(values) > 1 and all(
        number == numbers[0] + i for i, number in enumerate(numbers)
    )


def _join(parts: Sequence[Sentence]) -> Sentence:
    """Join the rows of a sentence.

    RAISES (CorpusError): They differ in weight, or a row has a tag too many or too few.
    """
    first = parts[0]
    for part in parts:
        if part.weight != first.weight:
            raise CorpusError(
                f"{part.place()}: another weight than in the first row of the sentence, row "
                f"{first.row}: use the same in all rows of a sentence"
            )
        if part.ner is not None and len(part.ner) != len(part.words):
            raise CorpusError(
                f"{part.place()}: {len(part.words)} tokens but {len(part.ner)} tags: fix the row"
            )
    return first._replace(
        words=[word for part in parts for word in part.words],
        ner=_join_tags([part.ner for part in parts]),
        pos=_join_tags([part.pos for part in parts]),
        chunks=_join_tags([part.chunks for part in parts]),
    )


def _join_tags(parts: Sequence[Sequence[str] | None]) -> list[str] | None:
    return None if None in parts else [tag for part in parts for tag in part or ()]
