"""Rows of JSON files: JSON lines, or one JSON list."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from .offsets import unify_row
from .sentences import CorpusError
from .textfiles import read_lines


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
        rows = (row for file in self.files for row in _read_file(file))
        for source, number, row in islice(rows, self.start, self.stop):
            yield source, number, unify_row(row, f"{source}, row {number}")

    def values(self) -> dict[str, Any]:
        """Get a sample value of each column.

        RETURNS (dict[str, Any]): For each column, its first value that is neither null nor an empty
            list; if there is none, null or an empty list.
        RAISES (CorpusError): A file cannot be read, or is not valid JSON.
        """
        values: dict[str, Any] = {}
        for *_, row in self:
            for column, value in row.items():
                if values.get(column) in (None, []):
                    values[column] = value
        return values


def _read_file(file: Path) -> Iterator[tuple[str, int, Any]]:
    """Yield the file and line, the number of the row, and the row."""
    lines = ((number, text) for number, text in read_lines(file) if text.strip())
    head = list(islice(lines, 2))
    if not head:
        raise CorpusError(f"{file}: a data file is empty: check the path, or get the file again")
    number, text = head[0]
    try:
        first = _parse(file, number, text)
    except CorpusError as err:
        # Either JSON lines with an invalid first line, or one JSON value over several lines.
        try:
            first = _parse(file, 1, "\n".join(text for _, text in read_lines(file)))
        except CorpusError as err_of_all:
            is_lines = text.strip() != "[" and _is_row(head[-1][1])
            raise (err if is_lines else err_of_all) from None
        head = []
    if len(head) == 2:
        for row, (number, text) in enumerate(chain(head, lines)):
            yield f"{file}:{number}", row, _parse(file, number, text)
        return
    if isinstance(first, dict) and "classes" in first and "annotations" in first:
        # {"classes": [...], "annotations": [[text, {"entities": [...]}], null, ...]}
        first = [row for row in first["annotations"] if row is not None]
    is_row = not isinstance(first, list) or (len(first) > 1 and isinstance(first[0], str))
    source = f"{file}:{number}" if is_row else str(file)
    for row, value in enumerate([first] if is_row else first):
        yield source, row, value


def _parse(file: Path, number: int, text: str) -> Any:
    """Parse JSON that starts on a line."""
    try:
        return json.loads(text)
    except ValueError as err:
        problem: object = err
        if isinstance(err, json.JSONDecodeError):
            number += err.lineno - 1
            problem = f"{err.msg} at column {err.colno}"
        raise CorpusError(f"{file}:{number}: not valid JSON: {problem}") from err


def _is_row(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
