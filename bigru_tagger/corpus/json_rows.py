"""Rows of JSON files, one object a line or a list of them."""

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
    """The rows of JSON files, read from the first each time.

    `datasets` gives a column the type that all its rows share, so one odd row changes what the
    others are; here each row is what its line holds.

    files (Sequence[Path]): The files: JSON lines, or a list; .gz, .bz2 and .xz are read, too.
    start (int): The first row.
    stop (int | None): The row behind the last; None for all.
    """

    files: Sequence[Path]
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        """Read the rows.

        YIELDS (tuple[str, int, Mapping[str, Any]]): The file, and of JSON lines the line; the row's
            number in the file, from 0; the row.
        RAISES (CorpusError): A file cannot be read, or is no JSON.
        """
        rows = (row for file in self.files for row in _read_file(file))
        for source, number, row in islice(rows, self.start, self.stop):
            yield source, number, unify_row(row, f"{source}, row {number}")

    def values(self) -> dict[str, Any]:
        """Look for one value of each column.

        RETURNS (dict[str, Any]): By column, the first value that is not null nor an empty list.
        RAISES (CorpusError): A file cannot be read, or is no JSON.
        """
        found: dict[str, Any] = {}
        for *_, row in self:
            for column, value in row.items():
                if found.get(column) in (None, []):
                    found[column] = value
        return found


def _read_file(file: Path) -> Iterator[tuple[str, int, Any]]:
    """Yield file and line, the row's number, and the row."""
    lines = ((number, text) for number, text in read_lines(file) if text.strip())
    head = list(islice(lines, 2))
    if not head:
        raise CorpusError(f"{file}: a data file is empty")
    number, text = head[0]
    try:
        first = _parse(file, number, text)
    except CorpusError as err:
        # A file of JSON lines with a bad first line, or JSON on several lines.
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
        raise CorpusError(f"{file}:{number}: this is no JSON: {problem}") from err


def _is_row(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
