"""Rows of CSV files. All cells are texts, so that the token 007 does not become a number."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .json_rows import JsonRows
from .sentences import CorpusError
from .textfiles import read_lines

_LONGEST_CELL = 2**31 - 1  # characters
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class CsvRows(JsonRows):
    """The rows of CSV files.

    encoding (str): Their encoding.
    separator (str): The character between cells. With a tab, each line is a row, and a quotation
        mark that is not closed in its cell is a part of the token.
    """

    encoding: str = "utf-8"
    separator: str = ","

    def read_file(self, file: Path) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Read the rows of a file. A row without content has empty cells.

        file (Path): The file.
        YIELDS (tuple[str, int, dict[str, str]]): The file and line, the number of the row, from 0,
            and the row.
        RAISES (CorpusError): The file cannot be read, the names of its columns are missing or not
            unique, or a row has more or fewer cells.
        """
        lines = self._cells(file)
        header = next((line for line in lines if any(line[1])), None)
        if header is None:
            raise CorpusError(
                f"{file}: a data file is empty: check the path, or get the file again"
            )
        number, names = header
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice:
            raise CorpusError(f"{file}:{number}: two columns are named {twice!r}: rename one")
        for row, (number, cells) in enumerate(lines):
            if len(cells) != len(names) and not "".join(cells).strip():
                cells = [""] * len(names)  # noqa: PLW2901
            if len(cells) != len(names):
                raise CorpusError(
                    f"{file}:{number}, row {row}: {len(cells)} cells instead of {len(names)}, as "
                    "in the first line: add or remove separators, set separator if it is another, "
                    "and write a cell with a separator in quotation marks"
                )
            columns = zip(names, cells, strict=True)
            yield f"{file}:{number}", row, {name: cell for name, cell in columns if name}

    def _cells(self, file: Path) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line of each row, from 1, and its cells."""
        lines = read_lines(file, self.encoding)
        if self.separator == "\t":
            for number, text in lines:
                yield number, [_unquote(cell) for cell in text.split("\t")]
            return
        number = 0
        # A cell may hold a whole document. This limit is one for all readers of the process.
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        try:
            rows = csv.reader(
                (text + "\n" for _, text in lines), delimiter=self.separator, strict=True
            )
            for cells in rows:
                yield number + 1, cells
                number = rows.line_num
        except TypeError as err:
            raise CorpusError(
                f"{file}: separator {self.separator!r}: {err}: set it to one character"
            ) from err
        except csv.Error as err:
            raise CorpusError(
                f"{file}:{number + 1}: not valid CSV ({err}): a quotation mark at the start of a "
                'cell must be closed, and the token " is written as """"; lines must end as in '
                "Linux or Windows"
            ) from err


def _unquote(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell
