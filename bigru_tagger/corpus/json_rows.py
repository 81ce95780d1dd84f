"""Rows of JSON files: JSON lines, or one JSON list."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from .sentences import CorpusError
from .textfiles import read_lines
from .unify import unify_row


@dataclass(frozen=True)
class JsonRows:
    """The rows of JSON files. Each iteration starts at the first row.

    `datasets` converts all rows of a column to one type, so one invalid row would change the
    others. Here each row keeps the types of its JSON.

    files (Sequence[Path]): Files of JSON lines, or of one list each, which may be compressed (.gz,
        .bz2, .xz).
    start (int): The first row.
    stop (int | None): The row after the last; None for all rows.
    """

    files: Sequence[Path]
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        """Read the rows.

        YIELDS (tuple[str, int, Mapping[str, Any]]): The file (with the line number, for JSON
            lines), the number of the row in the file, from 0, and the row.
        RAISES (CorpusError): A file cannot be read, or is not valid JSON.
        """
        rows = (row for file in self.files for row in self.read_file(file))
        for source, number, row in islice(rows, self.start, self.stop):
            yield source, number, unify_row(row, f"{source}, row {number}")

    def read_file(self, file: Path) -> Iterator[tuple[str, int, Any]]:
        """Read the rows of a file.

        file (Path): The file.
        YIELDS (tuple[str, int, Any]): The file (with the line number, for JSON lines), the number
            of the row, from 0, and the row.
        RAISES (CorpusError): The file cannot be read, or is not valid JSON.
        """
        lines = ((number, text) for number, text in read_lines(file) if text.strip())
        head = list(islice(lines, 2))
        if not head:
            raise CorpusError(
                f"{file}: a data file is empty: check the path, or get the file again"
            )
        number, text = head[0]
        try:
            first = _parse(file, number, text)
        except CorpusError as err:
            # Either JSON lines with an invalid first line, or one JSON value over several lines.
            try:
                first = _parse(file, 1, "\n".join(text for _, text in read_lines(file)))
            except CorpusError as err_of_all:
                is_lines = text.strip() != "[" and is_row(head[-1][1])
                raise (err if is_lines else err_of_all) from None
            head = []
        if len(head) == 2:
            for row, (number, text) in enumerate(chain(head, lines)):
                yield f"{file}:{number}", row, _parse(file, number, text)
            return
        if isinstance(first, dict) and "classes" in first and "annotations" in first:
            # {"classes": [...], "annotations": [[text, {"entities": [...]}], null, ...]}
            first = [row for row in first["annotations"] if row is not None]
        is_one = not isinstance(first, list) or (len(first) > 1 and isinstance(first[0], str))
        source = f"{file}:{number}" if is_one else str(file)
        for row, value in enumerate([first] if is_one else first):
            yield source, row, value

    @cached_property
    def values(self) -> dict[str, Any]:
        """A sample value of each column, of the type of most rows.

        So a few wrong rows do not change the type of a column. The value is null or an empty list
        only if there is no other.

        RAISES (CorpusError): A file cannot be read, or is not valid JSON.
        """
        counts: dict[str, Counter[object]] = {}
        samples: dict[tuple[str, object], Any] = {}
        for *_, row in self:
            for column, value in row.items():
                # None for empty values, which show no type
                item = type(value[0]) if isinstance(value, list) and value else None
                kind = None if value is None or value == [] else (type(value), item)
                counts.setdefault(column, Counter())[kind] += 1
                samples.setdefault((column, kind), value)
        return {
            column: samples[column, max(found, key=lambda kind: (kind is not None, found[kind]))]
            for column, found in counts.items()
        }


def _parse(file: Path, number: int, text: str) -> Any:
    """Parse JSON that starts on a line."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        if "\\ud" in text or "\\uD" in text:
            # Half of a surrogate pair is a character that no text can contain.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as err:
        problem: object = err
        if isinstance(err, json.JSONDecodeError):
            number += err.lineno - 1
            problem = f"{err.msg} at column {err.colno}"
        raise CorpusError(f"{file}:{number}: not valid JSON: {problem}") from err


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. Python's parser keeps the last of several values of a key."""
    built = dict(pairs)
    if len(built) < len(pairs):
        keys = Counter(key for key, _ in pairs)
        raise CorpusError(f"an object has the key {max(keys, key=keys.__getitem__)!r} twice")
    return built


def is_row(text: str) -> bool:
    """Check whether a line is a JSON object or list.

    text (str): The line.
    RETURNS (bool): False if it is not valid JSON, or holds a single value.
    """
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
