"""Join the rows of tables with one token per row."""

from collections.abc import Sequence

from .sentences import CorpusError, Sentence


def is_empty(value: object) -> bool:
    """Check whether a cell is empty.

    value (object): The value of the cell.
    RETURNS (bool): True for null, NaN and white space.
    """
    if isinstance(value, str):
        return not value.strip()
    # NaN, which stands for an empty cell, is not equal to itself.
    return value is None or value != value  # noqa: PLR0124


def join_rows(parts: Sequence[Sentence]) -> Sentence:
    """Join the rows of a sentence.

    parts (Sequence[Sentence]): The rows, of one token each.
    RETURNS (Sentence): The sentence.
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
