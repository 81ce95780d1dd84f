"""Infer the content of each column of a column file from its values."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..schemes import CHUNK_LABELS, OUTSIDE, column_labels
from .sentences import CorpusError

COLUMN_NAMES = ("tokens", "ner", "pos", "chunk", "document", "_")
"""Valid column names; "_" skips a column."""

_EXAMPLE = 'columns = ["tokens", "pos", "ner"], with "_" for a column to skip'
_N_CONLLU_COLUMNS = 10
_LAST_OF_CONLL2003 = 3
_PLACEHOLDERS = frozenset(("_", "-", "-X-", "O", "X"))
_INDEX = re.compile(r"\d+")
# CoNLL-U's multiword tokens (1-2) and empty nodes (2.1).
_NON_TOKEN_INDEX = re.compile(r"\d+[-.]\d+")
_MISC_TAG = re.compile(r"(?:^|\|)(?:name|NE|NER)=([^|]*)", re.IGNORECASE)

Rows = Sequence[Sequence[str]]


def check_columns(columns: Sequence[str]) -> None:
    """Check column names.

    columns (Sequence[str]): One name per column.
    RAISES (CorpusError): A name is not in `COLUMN_NAMES` or is repeated, there is no "tokens", or
        there is only "tokens".
    """
    named = [column for column in columns if column != "_"]
    if (
        not set(named) <= set(COLUMN_NAMES)
        or len(set(named)) < len(named)
        or "tokens" not in named
        or len(named) < 2
    ):
        raise CorpusError(
            f"columns {list(columns)}: name each column of the file once, as tokens, ner, pos, "
            "chunk or document, or _ to skip it; tokens and one other column are required"
        )


def is_index(values: Sequence[str], width: int) -> bool:
    """Check whether a column numbers the tokens of each sentence, as in CoNLL-U.

    values (Sequence[str]): The column.
    width (int): The number of columns.
    RETURNS (bool): True if the values count up by one and each count starts at 0 or 1. Unless
        the file has the ten columns of CoNLL-U, at least one sentence must have two tokens.
    """
    previous = -1
    counts_up = width == _N_CONLLU_COLUMNS
    for value in values:
        if _NON_TOKEN_INDEX.fullmatch(value):
            continue
        if not _INDEX.fullmatch(value) or int(value) not in (0, 1, previous + 1):
            return False
        counts_up |= int(value) == previous + 1 > 0
        previous = int(value)
    return counts_up


def _is_index_of_words(sentences: Sequence[Rows]) -> bool:
    """Check that a first column of numbers is an index, and not the tokens themselves.

    It is an index if the count restarts or if the second column holds words. In "1 CD O", "2 CD O"
    the numbers are tokens and the second column holds part-of-speech tags.
    """
    restarts = sum(rows[0][0] in ("0", "1") for rows in sentences) > 1
    second = {row[1] for rows in sentences for row in rows}
    return restarts or (len(second) > 1 and not all(value.isupper() for value in second))


def is_non_token(index: str) -> bool:
    """Check whether a CoNLL-U line is a multiword token (1-2) or an empty node (2.1).

    index (str): The first column.
    RETURNS (bool): True for both.
    """
    return bool(_NON_TOKEN_INDEX.fullmatch(index))


def has_misc_tags(values: Iterable[str]) -> bool:
    """Check whether a column holds tags among other features, as in "name=B-PER|SpaceAfter=No".

    values (Iterable[str]): The column.
    RETURNS (bool): True if at least one value contains such a tag.
    """
    return any(_MISC_TAG.search(value) for value in values)


def misc_tag(value: str) -> str:
    """Extract the tag from the features of a token.

    value (str): The features, such as "name=B-PER|SpaceAfter=No".
    RETURNS (str): The tag, or "O" if there is none.
    """
    match = _MISC_TAG.search(value)
    return match[1] if match else OUTSIDE


def find_layout(
    file: Path, sentences: Sequence[Rows], line: int, *, labels_alone: bool, needs_annotation: bool
) -> tuple[str, ...]:
    """Infer the content of each column of a file.

    A tag column is a column in which all values are tags of one scheme. The rules apply in this
    order:

    1. A first column that numbers the tokens of each sentence is skipped. If the file has such an
       index and ten columns in total, it is CoNLL-U and the last column holds the entities.
    2. The first column holds the tokens. Of two columns, the one without tags holds the tokens.
    3. A tag column with chunk labels holds the chunks. The first of the other tag columns holds the
       entities. A second one with the same labels is skipped: it holds nested entities (GermEval)
       or predictions (conlleval).
    4. A column between tokens and tags holds part-of-speech tags, unless it holds placeholders
       (-X-).
    5. A further column before the tags holds document names if it has one value per sentence.

    file (Path): The file, for messages.
    sentences (Sequence[Rows]): The lines of each sentence, split into columns. All lines have the
        same number of columns.
    line (int): The number of the first line, for messages.
    labels_alone (bool): Whether tags may be labels without prefixes.
    needs_annotation (bool): Whether a file that holds only tokens is an error.
    RETURNS (tuple[str, ...]): One of `COLUMN_NAMES` per column.
    RAISES (CorpusError): There is no tag column, or the content of a column is ambiguous.
    """
    columns = list(zip(*(row for rows in sentences for row in rows), strict=True))
    values = [set(column) for column in columns]
    names = ["_"] * len(columns)
    first = 1 if len(columns) > 2 and is_index(columns[0], len(columns)) else 0
    if first and len(columns) == _N_CONLLU_COLUMNS:
        return _conllu_layout(columns)
    if first and not _is_index_of_words(sentences):
        raise CorpusError(
            f"{file}:{line}: {len(columns)} columns ({' '.join(sentences[0][0])}): the first may "
            f"number the tokens, or hold tokens that are numbers: name the columns, as in "
            f"{_EXAMPLE}"
        )
    if len(columns) == 1:
        if needs_annotation:
            raise CorpusError(
                f"{file}:{line}: one column: add a column of tags, or set separator if the columns "
                "are separated by other characters"
            )
        return ("tokens",)
    labels = {
        i: found
        for i in range(first, len(columns))
        if (found := column_labels(_tags(values[i]))) is not None
    }
    if len(columns) == 2:
        return ("ner", "tokens") if list(labels) == [0] else ("tokens", "ner")
    labels.pop(first, None)
    names[first] = "tokens"
    if labels:
        _name_tags(file, line, labels, names, indexed=first > 0)
    elif labels_alone:
        names[-1] = "ner"
    else:
        raise CorpusError(
            f"{file}:{line}: {len(columns)} columns ({' '.join(sentences[0][0])}), but no column "
            f"has a tag such as B-PER in each line: name the columns, as in {_EXAMPLE}; for "
            'labels without prefixes, set scheme = "io"'
        )
    tags = min(i for i, name in enumerate(names) if name in ("ner", "chunk"))
    between = range(first + 1, tags)
    if between and not values[between[0]] <= _PLACEHOLDERS and len(columns) <= first + 4:
        names[between[0]] = "pos"
    for i in between[1:]:
        if _names_documents([[row[i] for row in rows] for rows in sentences]):
            names[i] = "document"
    return tuple(names)


def _name_tags(
    file: Path, line: int, labels: dict[int, set[str]], names: list[str], *, indexed: bool
) -> None:
    """Find the entity and chunk columns among the tag columns by the labels in each."""
    chunks = [i for i, found in labels.items() if len(found & CHUNK_LABELS) * 2 > len(found)]
    if chunks:
        names[chunks[0]] = "chunk"
    others = [i for i in labels if i not in chunks]
    if not others:
        return
    first, last = others[0], others[-1]
    alike = all(labels[first] & labels[i] for i in others[1:])
    if len(others) == 1 or (labels[first] and (indexed or alike)):
        names[first] = "ner"
    elif last >= _LAST_OF_CONLL2003 and not any(labels[i] for i in others[:-1]):
        # In CoNLL-2003's format, a chunk column that holds only "O" is a placeholder.
        names[last] = "ner"
    else:
        raise CorpusError(
            f"{file}:{line}: columns {', '.join(str(i + 1) for i in others)} hold tags: name the "
            f"one with the entities, as in {_EXAMPLE}"
        )


def _tags(values: set[str]) -> set[str]:
    return {misc_tag(value) for value in values} if has_misc_tags(values) else values


def _names_documents(sentences: Sequence[Sequence[str]]) -> bool:
    """Check whether a column has one value per sentence, and not the same one throughout.

    At least one sentence must have several tokens.
    """
    return (
        all(len(set(values)) == 1 for values in sentences)
        and any(len(values) > 1 for values in sentences)
        and len({values[0] for values in sentences}) > 1
    )


def _conllu_layout(columns: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Name CoNLL-U's columns: ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC."""
    names = ["_", "tokens", *"_" * 8]
    pos = next((i for i in (3, 4) if set(columns[i]) != {"_"}), None)
    if pos is not None:
        names[pos] = "pos"
    if column_labels(_tags(set(columns[-1]))):
        names[-1] = "ner"
    return tuple(names)
