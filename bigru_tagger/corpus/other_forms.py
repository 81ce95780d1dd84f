"""Recognize files that are not column files, for errors that name their form."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from .layouts import are_mostly_tags, check_brackets
from .sentences import CorpusError

_WEBANNO = "#FORMAT=WebAnno"
_WORD_WITH_TAG = re.compile(r".+[|/_](?:O|[BIESLU]-[^|/]+)")
_MARKUP = re.compile(r"<[?!/]?[a-zA-Z][^<>]*>")
_PUBTATOR = re.compile(r"\d+\|[ta]\|")
_READ = (
    "One token with its tags per line is read, and texts with character offsets in JSON lines, see "
    "docs/data.md"
)


def check_is_column_file(
    file: Path,
    comments: Iterable[str],
    rows: Sequence[tuple[int, Sequence[str]]],
    *,
    splits_spaces: bool,
) -> None:
    """Check that a file is a column file.

    file (Path): The file.
    comments (Iterable[str]): The lines that start with "#".
    rows (Sequence[tuple[int, Sequence[str]]]): The numbers of the other lines, and their columns.
    splits_spaces (bool): Whether spaces separate the columns.
    RAISES (CorpusError): The file has another form, or is a text.
    """
    if any(text.startswith(_WEBANNO) for text in comments):
        raise CorpusError(
            f"{file}: WebAnno TSV is not read, because its spans are no columns of tags: export "
            "the documents as CoNLL 2002"
        )
    if not rows:
        return
    line, first = rows[0]
    if splits_spaces and _has_sentences_as_lines(rows):
        raise CorpusError(
            f"{file}:{line}: each line seems to be a sentence of words joined with their tags "
            f"({first[0]!r}), which is not read: write one token with its tags per line, and an "
            "empty line after each sentence"
        )
    if are_mostly_tags([fields[-1] for _, fields in rows]):
        return
    if file.with_suffix(".ann").exists():
        raise CorpusError(
            f"{file}: a text with annotation in brat's standoff format "
            f"({file.with_suffix('.ann').name}), which is not read: convert it. {_READ}"
        )
    widths = Counter(len(fields) for _, fields in rows)
    if _PUBTATOR.match(first[0]) or (len(widths) > 1 and _MARKUP.match(" ".join(first))):
        raise CorpusError(
            f"{file}:{line}: {' '.join(first)[:40]!r} is of PubTator's format or XML, and not the "
            f"line of a token: convert the file. {_READ}"
        )
    if splits_spaces and len(widths) > 2 and 2 * max(widths.values()) <= len(rows):
        check_brackets(file, line, [fields for _, fields in rows])
        raise CorpusError(
            f"{file}:{line}: a text and not a column file: the lines have from {min(widths)} to "
            f"{max(widths)} words, and most do not end with a tag. {_READ}"
        )


def _has_sentences_as_lines(rows: Sequence[tuple[int, Sequence[str]]]) -> bool:
    joined = sum(all(map(_WORD_WITH_TAG.fullmatch, fields)) for _, fields in rows)
    return 2 * joined > len(rows) and any(len(fields) > 1 for _, fields in rows)
