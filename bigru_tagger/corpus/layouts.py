"""What the columns of a column file hold, by what stands in them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..schemes import CHUNK_LABELS, OUTSIDE, column_labels
from .sentences import CorpusError

COLUMN_NAMES = ("tokens", "ner", "pos", "chunk", "document", "_")
"""What a column may hold; "_" is skipped."""

_EXAMPLE = 'columns = ["tokens", "pos", "ner"], with "_" for a column to skip'
_NUMBER_OF_CONLLU = 10
_LAST_OF_CONLL2003 = 3
_PLACEHOLDERS = frozenset(("_", "-", "-X-", "O", "X"))
_INDEX = re.compile(r"\d+")
# CoNLL-U's words of several tokens, and its empty nodes.
_NO_TOKEN = re.compile(r"\d+[-.]\d+")
_MISC_TAG = re.compile(r"(?:^|\|)(?:name|NE|NER)=([^|]*)", re.IGNORECASE)

Rows = Sequence[Sequence[str]]


def check_columns(columns: Sequence[str]) -> None:
    """Check the names of columns.

    columns (Sequence[str]): One name a column.
    RAISES (CorpusError): A name not in `COLUMN_NAMES`, or twice; no tokens; nothing but tokens.
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
            "chunk or document, or _ to skip it; tokens and one other must be there"
        )


def is_index(values: Sequence[str], width: int) -> bool:
    """Whether a column numbers the tokens of each sentence, as in CoNLL-U.

    values (Sequence[str]): The column.
    width (int): The number of columns.
    RETURNS (bool): True if it counts up by one from 0 or 1, and from there again. Sentences of one
        token are too little, unless there are the ten columns of CoNLL-U.
    """
    before = -1
    counts = width == _NUMBER_OF_CONLLU
    for value in values:
        if _NO_TOKEN.fullmatch(value):
            continue
        if not _INDEX.fullmatch(value) or int(value) not in (0, 1, before + 1):
            return False
        counts |= int(value) == before + 1 > 0
        before = int(value)
    return counts


def _has_words_behind(sentences: Sequence[Rows]) -> bool:
    """Whether numbers that count up are an index: they start again, or words stand beside them.

    The numbers may themselves be the tokens, with parts of speech beside them: "1 CD O", "2 CD O".
    """
    starts_again = sum(rows[0][0] in ("0", "1") for rows in sentences) > 1
    beside = {row[1] for rows in sentences for row in rows}
    return starts_again or (len(beside) > 1 and not all(value.isupper() for value in beside))


def is_no_token(index: str) -> bool:
    """Whether a line of CoNLL-U is a word of several tokens (1-2) or an empty node (2.1).

    index (str): The first column.
    RETURNS (bool): True for both.
    """
    return bool(_NO_TOKEN.fullmatch(index))


def has_misc_tags(values: Iterable[str]) -> bool:
    """Whether a column holds tags among other features: "name=B-PER|SpaceAfter=No".

    values (Iterable[str]): The column.
    RETURNS (bool): True if any value has a tag so.
    """
    return any(_MISC_TAG.search(value) for value in values)


def misc_tag(value: str) -> str:
    """Take the tag out of a token's features.

    value (str): "name=B-PER|SpaceAfter=No".
    RETURNS (str): The tag, "O" where there is none.
    """
    match = _MISC_TAG.search(value)
    return match[1] if match else OUTSIDE


def find_layout(
    file: Path, sentences: Sequence[Rows], line: int, *, labels_alone: bool, needs_annotation: bool
) -> tuple[str, ...]:
    """Find out what the columns of a file hold.

    The rules, in this order; a column of tags is one in which each value is a tag of one scheme:

    1. A first column that numbers the tokens of each sentence is skipped. Ten columns behind it
       make CoNLL-U, with entities in the last one.
    2. Tokens are in the first column (of two, in the one that does not hold the tags).
    3. Of the columns of tags, one with labels of chunks holds chunks. The first of the others holds
       the entities: a second one with the same labels holds inner entities (GermEval) or a
       system's (conlleval).
    4. A column between tokens and tags holds parts of speech, unless it has placeholders (-X-).

    file (Path): The file, for messages.
    sentences (Sequence[Rows]): Its lines, split into as many columns each.
    line (int): The line of the first, for messages.
    labels_alone (bool): Whether tags may be labels without prefixes.
    needs_annotation (bool): Whether tokens alone are too little.
    RETURNS (tuple[str, ...]): A name for each column, of `COLUMN_NAMES`.
    RAISES (CorpusError): There are no columns of tags, or it is not certain what they hold.
    """
    columns = list(zip(*(row for rows in sentences for row in rows), strict=True))
    values = [set(column) for column in columns]
    names = ["_"] * len(columns)
    first = 1 if len(columns) > 2 and is_index(columns[0], len(columns)) else 0
    if first and len(columns) == _NUMBER_OF_CONLLU:
        return _conllu_layout(columns)
    if first and not _has_words_behind(sentences):
        raise CorpusError(
            f"{file}:{line}: {len(columns)} columns ({' '.join(sentences[0][0])}): the first may "
            f"number the tokens, or hold tokens that are numbers: say what they hold, as in "
            f"{_EXAMPLE}"
        )
    if len(columns) == 1:
        if needs_annotation:
            raise CorpusError(f"{file}:{line}: one column: tokens need tags beside them")
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
            f"{file}:{line}: {len(columns)} columns ({' '.join(sentences[0][0])}), none of which "
            f"has a tag such as B-PER in each line: say what they hold, as in {_EXAMPLE}; for "
            'labels without prefixes, give scheme = "io"'
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
    """Find the entities and the chunks among the columns of tags, by the labels in each."""
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
        # "O" throughout is a placeholder where CoNLL-2003 has chunks.
        names[last] = "ner"
    else:
        raise CorpusError(
            f"{file}:{line}: columns {', '.join(str(i + 1) for i in others)} have tags: say which "
            f"of them are the entities, as in {_EXAMPLE}"
        )


def _tags(values: set[str]) -> set[str]:
    return {misc_tag(value) for value in values} if has_misc_tags(values) else values


def _names_documents(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether a column has one value a sentence, in several sentences of several tokens."""
    return (
        all(len(set(values)) == 1 for values in sentences)
        and any(len(values) > 1 for values in sentences)
        and len({values[0] for values in sentences}) > 1
    )


def _conllu_layout(columns: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """CoNLL-U: index, form, lemma, UPOS, XPOS, features, head, relation, more relations, misc."""
    names = ["_", "tokens", *"_" * 8]
    pos = next((i for i in (3, 4) if set(columns[i]) != {"_"}), None)
    if pos is not None:
        names[pos] = "pos"
    if column_labels(_tags(set(columns[-1]))):
        names[-1] = "ner"
    return tuple(names)
