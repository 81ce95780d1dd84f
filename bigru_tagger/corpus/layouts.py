"""Infer the content of each column of a column file from its values."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

from ..schemes import (
    CHUNK_LABELS,
    UNKNOWN,
    TagError,
    are_several_tags,
    column_labels,
    detect_scheme,
    is_tag,
)
from .conllu import EXAMPLE, N_CONLLU_COLUMNS, conllu_layout, has_misc_tags, misc_tag
from .sentences import CorpusError

COLUMN_NAMES = ("tokens", "ner", "pos", "chunk", "document", "_")
"""Valid column names; "_" skips a column."""
_LAST_OF_CONLL2003 = 3
# With more distinct tokens than this, part-of-speech tags are less than half as many.
_MANY_TAGS = 1000
_PLACEHOLDERS = frozenset(("_", "-", "-X-", "O", "X"))
_INDEX = re.compile(r"\d{1,9}")
# CoNLL-U's multiword tokens (1-2) and empty nodes (2.1).
_NON_TOKEN_INDEX = re.compile(r"\d+[-.]\d+")
_BRACKETS = re.compile(r"(?:\([^()*\s]+)*\*?\)*")
# A number, or numbers of sentence and token: 3, 1-3, 2.1.
_NUMBERS = re.compile(r"\d+(?:[-.:]\d+)*")

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


def misfits_of_index(values: Sequence[str], width: int) -> list[int] | None:
    """Find the values that break a column that numbers the tokens of each sentence, as in CoNLL-U.

    Each count starts at 0 or 1. Multiword tokens and empty nodes are not counted.

    values (Sequence[str]): The column.
    width (int): The number of columns.
    RETURNS (list[int] | None): The positions of the values that do not continue the count, most
        often none. None if the column is no index, because a third or more of its values, or as
        many as count up by one, do not continue the count. Unless the file has the ten columns of
        CoNLL-U, it is also no index if no value counts up by one, or if the values are in runs of
        equal values.
    """
    if width != N_CONLLU_COLUMNS and _is_in_runs(values):
        return None
    previous = -1
    counted = 0
    misfits = []
    for position, value in enumerate(values):
        if is_non_token(value):
            continue
        number = int(value) if _INDEX.fullmatch(value) else -1
        if number not in (0, 1, previous + 1):
            misfits.append(position)
        counted += number == previous + 1 > 0
        previous = number if number >= 0 else previous + 1
    if misfits:
        n_fitting = len(values) - len(misfits)
        return misfits if counted > len(misfits) and n_fitting > 2 * len(misfits) else None
    return misfits if counted or width == N_CONLLU_COLUMNS else None


def _check_index(file: Path, line: int, sentences: Sequence[Rows]) -> None:
    """Check that a first column of numbers is an index, and not the tokens themselves.

    It is an index if the count restarts or if the second column holds words. In "1 CD O", "2 CD O"
    the numbers are tokens and the second column holds part-of-speech tags.

    RAISES (CorpusError): It may hold the tokens.
    """
    restarts = sum(rows[0][0] in ("0", "1") for rows in sentences) > 1
    second = {row[1] for rows in sentences for row in rows}
    if not restarts and (len(second) == 1 or all(value.isupper() for value in second)):
        row = sentences[0][0]
        raise CorpusError(
            f"{file}:{line}: {len(row)} columns ({' '.join(row)}): the first may number the "
            f"tokens, or hold tokens that are numbers: name the columns, as in {EXAMPLE}"
        )


def check_counts(file: Path, sentences: Sequence[Sequence[tuple[int, Sequence[str]]]]) -> None:
    """Check that the numbers of the tokens start again where a sentence starts, and only there.

    file (Path): The file, for the message.
    sentences (Sequence[Sequence[tuple[int, Sequence[str]]]]): The number of each line, and its
        columns, of which the first is the number of the token.
    RAISES (CorpusError): A blank line is missing, or there is one too many.
    """
    for rows in sentences:
        for (_, before), (number, fields) in pairwise(rows):
            if int(fields[0]) < int(before[0]):
                raise CorpusError(
                    f"{file}:{number}: the number of the token is {fields[0]} after {before[0]}: "
                    "add a blank line between the sentences, or fix the number"
                )
    starts = [rows[0][1][0] in ("0", "1") for rows in sentences]
    if not all(starts) and 2 * sum(starts) > len(starts):
        number, fields = sentences[starts.index(False)][0]
        raise CorpusError(
            f"{file}:{number}: a sentence starts with the token {fields[0]}: remove the blank line "
            "before it, or fix the number"
        )


def is_non_token(index: str) -> bool:
    """Check whether a CoNLL-U line is a multiword token (1-2) or an empty node (2.1).

    index (str): The first column.
    RETURNS (bool): True for both.
    """
    return bool(_NON_TOKEN_INDEX.fullmatch(index))


def are_mostly_tags(values: Sequence[str]) -> bool:
    """Check whether more than half of the values are tags, so that the others are mistakes.

    "-" is not counted, since it can also be a placeholder.

    values (Sequence[str]): The values.
    RETURNS (bool): True if they are.
    """
    counts = Counter(values)
    del counts[UNKNOWN]
    n_tags = sum(
        count
        for value, count in counts.items()
        if is_tag(value, bare=False) or are_several_tags(value)
    )
    return n_tags * 2 > counts.total()


def find_layout(
    file: Path,
    sentences: Sequence[Rows],
    lines: Sequence[int],
    *,
    indexed: bool,
    labels_alone: bool,
    needs_annotation: bool,
) -> tuple[str, ...]:
    """Infer the content of each column of a file.

    A tag column is a column in which all values are tags of one scheme. The rules apply in this
    order:

    1. A first column that numbers the tokens of each sentence is skipped. If the file has such an
       index and ten columns in total, it is CoNLL-U and the last column holds the entities.
    2. The first column holds the tokens. Of two columns, the one without tags holds the tokens. It
       is an error if the first column may hold ids or positions.
    3. A tag column with chunk labels holds the chunks. The first of the other tag columns holds the
       entities. A second one with the same labels is skipped: it holds nested entities (GermEval)
       or predictions (conlleval). If all but the last hold only O (CoNLL-2003), the last
       holds the entities.
    4. The first column between tokens and tags that holds neither lemmas nor numbers holds
       part-of-speech tags, unless it holds placeholders (-X-).
    5. A further column before the tags holds document names if it has one value per sentence.

    file (Path): The file, for messages.
    sentences (Sequence[Rows]): The lines of each sentence, split into columns. All lines have the
        same number of columns.
    lines (Sequence[int]): The line number of each row, for messages.
    indexed (bool): Whether the first of at least three columns numbers the tokens, see
        `misfits_of_index`.
    labels_alone (bool): Whether tags may be labels without prefixes.
    needs_annotation (bool): Whether a file that holds only tokens is an error.
    RETURNS (tuple[str, ...]): One of `COLUMN_NAMES` per column.
    RAISES (CorpusError): There is no tag column, the content of a column is ambiguous, or a few
        values do not fit the others of their column.
    """
    line = lines[0]
    columns = list(zip(*(row for rows in sentences for row in rows), strict=True))
    names = ["_"] * len(columns)
    first = int(indexed)
    if not labels_alone:
        _check_tags(file, columns, lines, first + 1)
    if indexed and len(columns) == N_CONLLU_COLUMNS:
        return conllu_layout(file, columns, lines, labels_alone=labels_alone)
    if indexed:
        _check_index(file, line, sentences)
    if len(columns) == 1 and not needs_annotation:
        return ("tokens",)
    if len(columns) == 1:
        raise CorpusError(
            f"{file}:{line}: one column: add a column of tags, or set separator if the columns "
            "are separated by other characters"
        )
    labels = {
        i: found
        for i in range(first, len(columns))
        if (found := column_labels(set(_tags(columns[i])))) is not None
    }
    if list(labels) == [0] and len(columns) == 2:
        return ("ner", "tokens")
    labels.pop(first, None)
    # Labels without prefixes are in the last column of an annotated file.
    end = len(columns) - (labels_alone and needs_annotation and not labels)
    others = [i for i in range(first + 1, end) if i not in labels]
    if not labels:
        check_brackets(file, line, [row for rows in sentences for row in rows])
    _check_tokens(file, sentences, lines, first, others)
    if len(columns) == 2:
        return ("tokens", "ner")
    names[first] = "tokens"
    if labels:
        _name_tags(file, line, labels, names, indexed=indexed)
    elif labels_alone:
        names[-1] = "ner"
    else:
        raise CorpusError(
            f"{file}:{line}: {len(columns)} columns ({' '.join(sentences[0][0])}), but no column "
            f"has a tag such as B-PER in each line: name the columns, as in {EXAMPLE}; for "
            'labels without prefixes, set scheme = "io"'
        )
    _name_features(file, sentences, columns, lines, names)
    return tuple(names)


def check_brackets(file: Path, line: int, rows: Rows) -> None:
    """Check that spans are not written as brackets, as in CoNLL-2012.

    file (Path): The file, for the message.
    line (int): The line number of the first row, for the message.
    rows (Rows): The columns of each line.
    RAISES (CorpusError): Most lines have a value such as "(GPE*", "*" or "*)".
    """
    found = [[v for v in row if "*" in v and _BRACKETS.fullmatch(v)] for row in rows]
    opening = [value for values in found for value in values if "(" in value]
    if opening and 2 * sum(map(bool, found)) > len(rows):
        raise CorpusError(
            f"{file}:{line}: brackets such as {opening[-1]!r}, as in CoNLL-2012, are not read: "
            "convert the entities to a column of tags such as B-GPE"
        )


def _check_tokens(
    file: Path, sentences: Sequence[Rows], lines: Sequence[int], first: int, others: Sequence[int]
) -> None:
    """Check that the column of the tokens cannot hold ids or positions in their place.

    first (int): The column of the tokens.
    others (Sequence[int]): The columns behind it that hold no tags.
    RAISES (CorpusError): It holds only numbers, or the same value throughout each sentence, and
        another column may hold the tokens.
    """

    def repeats(column: int) -> bool:
        return all(len({row[column] for row in rows}) == 1 for rows in long)

    long = [rows for rows in sentences if len(rows) > 1]
    if others and all(_is_in_runs([row[first] for row in rows]) for rows in long):
        _check_runs(file, sentences, lines, first, others)
    are_numbers = all(_NUMBERS.fullmatch(row[first]) for rows in sentences for row in rows)
    if others and (are_numbers or (long and repeats(first) and not all(map(repeats, others)))):
        raise CorpusError(
            f"{file}:{lines[0]}: column {first + 1} holds {sentences[0][0][first]!r}, which may be "
            f"an id or a position and not a token: name the columns, as in {EXAMPLE}"
        )


def _is_in_runs(values: Sequence[str]) -> bool:
    """Check whether each value is in a single run, and runs have a mean length of 2 or more."""
    runs = [value for value, _ in groupby(values)]
    return len(values) >= 2 * len(runs) == 2 * len(set(runs))


def _check_runs(
    file: Path, sentences: Sequence[Rows], lines: Sequence[int], first: int, others: Sequence[int]
) -> None:
    """Check that the column of the tokens does not number sentences without empty lines between.

    RAISES (CorpusError): It changes within a sentence, less often than another column.
    """
    number = iter(lines)
    for rows in sentences:
        n_values = [len({row[i] for row in rows}) for i in (first, *others)]
        for row, line in zip(rows, number, strict=False):
            if row[first] != rows[0][first] and n_values[0] < max(n_values):
                raise CorpusError(
                    f"{file}:{line}: column {first + 1} changes from {rows[0][first]!r} to "
                    f"{row[first]!r} within a sentence, and may number the sentences: add an empty "
                    f"line where it changes, and name the columns, as in {EXAMPLE}"
                )


def _name_features(
    file: Path,
    sentences: Sequence[Rows],
    columns: Sequence[Sequence[str]],
    lines: Sequence[int],
    names: list[str],
) -> None:
    """Find the part-of-speech tags and the names of documents between the tokens and the tags."""
    first = names.index("tokens")
    tags = min(i for i, name in enumerate(names) if name in ("ner", "chunk"))
    between = range(first + 1, tags)
    pos = next((i for i in between if not _is_lemma(columns[first], columns[i])), None)
    if pos is not None and len(columns) <= first + 4 and not set(columns[pos]) <= _PLACEHOLDERS:
        names[pos] = "pos"
    for i in between[1:]:
        if i != pos and _names_documents(
            file, [[row[i] for row in rows] for rows in sentences], lines, i
        ):
            names[i] = "document"


def _is_lemma(tokens: Sequence[str], values: Sequence[str]) -> bool:
    """Check whether a column holds lemmas or positions, and not part-of-speech tags.

    Most lemmas start with the letter of their token, or, as in languages with prefixes, there are
    almost as many of them as of tokens.
    """
    words = [pair for pair in zip(tokens, values, strict=True) if pair[0].isalpha()]
    n_alike = sum(
        token[:1].casefold() == value[:1].casefold()
        # Tags of names are alike by chance: "Nina" and "NNP".
        and not (value.isupper() and not token.isupper())
        for token, value in words
    )
    n_distinct = len(set(tokens))
    return (
        2 * n_alike > len(words)
        or (n_distinct > _MANY_TAGS and 2 * len(set(values)) > n_distinct)
        or all(map(_NUMBERS.fullmatch, values))
    )


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
            f"one with the entities, as in {EXAMPLE}"
        )


def _check_tags(
    file: Path, columns: Sequence[Sequence[str]], lines: Sequence[int], first: int
) -> None:
    """Check that no column has invalid values among tags: the column would not be found.

    first (int): The first column that can hold tags.
    RAISES (CorpusError): More than half of the values of a column are tags, and not all.
    """
    for i, column in enumerate(columns[first:], start=first):
        values = _tags(column)
        if are_mostly_tags(values) and not set(values) <= _PLACEHOLDERS:
            try:
                detect_scheme([values])
            except TagError as err:
                header = "" if err.position else "remove this line if it is a header, "
                raise CorpusError(
                    f"{file}:{lines[err.position]}: column {i + 1}: {err}. Most values of this "
                    f"column are tags: {header}fix this one, or name the columns, as in {EXAMPLE}"
                ) from err


def _tags(values: Sequence[str]) -> Sequence[str]:
    return [misc_tag(value) for value in values] if has_misc_tags(values) else values


def _names_documents(
    file: Path, sentences: Sequence[Sequence[str]], lines: Sequence[int], column: int
) -> bool:
    """Check whether a column has one value per sentence, and not the same one throughout.

    At least one sentence must have several tokens.

    RAISES (CorpusError): This is true of more than half of the sentences with several tokens, and
        not of all.
    """
    long = [values for values in sentences if len(values) > 1]
    n_equal = sum(len(set(values)) == 1 for values in long)
    if len({values[0] for values in sentences}) == 1 or n_equal * 2 <= len(long):
        return False
    if n_equal < len(long):
        number = iter(lines)
        for values in sentences:
            for value, line in zip(values, number, strict=False):
                if value != values[0]:
                    raise CorpusError(
                        f"{file}:{line}: column {column + 1} holds {value!r} in a sentence that "
                        f"starts with {values[0]!r}. In most sentences, it names one document: fix "
                        f"the line, or name the columns, as in {EXAMPLE}"
                    )
    return True
