"""Read column files: one token a line, its tags beside it, a blank line behind each sentence."""

import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from .sentences import CorpusError, Sentence

SPLIT_ENDINGS = frozenset((".dev", ".test", ".testa", ".testb", ".train"))
"""Endings that say which split a file is, as in CoNLL-2003's eng.train."""

FILE_ENDINGS = SPLIT_ENDINGS | {".bio", ".bioes", ".conll", ".iob", ".iob2", ".tsv", ".txt"}
"""By these endings a column file is known in a folder."""

DOCUMENT_START = "-DOCSTART-"
COLUMN_NAMES = ("tokens", "ner", "pos", "chunk", "_")
_COLUMNS_BY_NUMBER = {2: ("tokens", "ner"), 4: ("tokens", "pos", "chunk", "ner")}
# Not str.split(): tokens may hold no-break and other spaces.
_BLANKS = " \t"
_BLANK_RUN = re.compile(r"[ \t]+")


def find_files(path: str | Path) -> list[Path]:
    """List the column files that a path names.

    path (str | Path): A file, a folder (files with one of `FILE_ENDINGS`), or a glob pattern.
    RETURNS (list[Path]): The files, sorted by name.
    RAISES (CorpusError): There are none.
    """
    folder = Path(path)
    if folder.is_file():
        return [folder]
    if folder.is_dir():
        found = [file for file in folder.iterdir() if file.suffix in FILE_ENDINGS]
        wanted = f"no file that ends in {', '.join(sorted(FILE_ENDINGS))}: give a pattern (dir/*)"
    else:
        found = [Path(name) for name in glob(str(path))] if has_magic(str(path)) else []
        wanted = "no such file, folder, or file of that pattern"
    files = sorted(file for file in found if file.is_file() and not file.name.startswith("."))
    if not files:
        raise CorpusError(f"{path}: {wanted}")
    return files


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
            f"columns {list(columns)}: name each column of the file once, as tokens, ner, pos or "
            "chunk, or _ to skip it; tokens and one other must be there"
        )


def read_files(
    files: Sequence[Path],
    *,
    columns: Sequence[str] | None,
    separator: str | None,
    encoding: str,
    needs_annotation: bool = True,
) -> Iterator[Sentence]:
    """Read the sentences of column files. A document ends at `-DOCSTART-` and with its file.

    files (Sequence[Path]): The files.
    columns (Sequence[str] | None): What each column holds, of `COLUMN_NAMES`; None to tell it from
        their number: two are tokens and entity tags, four are those of CoNLL-2003.
    separator (str | None): What stands between columns; None for blanks and tabs.
    encoding (str): The files' encoding. A byte-order mark is dropped.
    needs_annotation (bool): Whether one column, the tokens, is too little.
    YIELDS (Sentence): One at a time.
    RAISES (CorpusError): A line with too few or too many columns; columns that cannot be told; a
        file that cannot be read.
    """
    for file in files:
        names = columns or _tell_columns(file, separator, encoding, needs_annotation)
        documents = 0
        rows: list[list[str]] = []
        numbers: list[int] = []
        for number, text in _read_lines(file, encoding):
            boundary = text.startswith(DOCUMENT_START)
            if not boundary and text.strip(_BLANKS):
                fields = split_columns(text, separator)
                if len(fields) == len(names):
                    rows.append(fields)
                    numbers.append(number)
                elif not text.startswith("#"):
                    raise CorpusError(
                        f"{file}:{number}: {len(fields)} columns instead of {len(names)} "
                        f"({', '.join(names)}): mend the line, or give columns and separator"
                    )
                continue
            if rows:
                yield _sentence(file, names, rows, numbers, documents)
                rows, numbers = [], []
            documents += boundary
        if rows:
            yield _sentence(file, names, rows, numbers, documents)


def _sentence(
    file: Path, names: Sequence[str], rows: list[list[str]], lines: list[int], document: int
) -> Sentence:
    by_name = dict(zip(names, zip(*rows, strict=True), strict=True))
    return Sentence(
        source=str(file),
        words=by_name["tokens"],
        ner=by_name.get("ner"),
        pos=by_name.get("pos"),
        chunks=by_name.get("chunk"),
        document=(file, document),
        lines=lines,
    )


def _tell_columns(
    file: Path, separator: str | None, encoding: str, needs_annotation: bool
) -> Sequence[str]:
    for number, text in _read_lines(file, encoding):
        # A line that starts with "#" may be a comment: the next one tells for certain.
        if text.strip(_BLANKS) and not text.startswith((DOCUMENT_START, "#")):
            fields = split_columns(text, separator)
            if len(fields) == 1 and not needs_annotation:
                return ("tokens",)
            if len(fields) not in _COLUMNS_BY_NUMBER:
                raise CorpusError(
                    f"{file}:{number}: {len(fields)} columns: say what they hold, as in "
                    'columns = ["tokens", "pos", "ner"], with "_" for one to skip'
                )
            return _COLUMNS_BY_NUMBER[len(fields)]
    return _COLUMNS_BY_NUMBER[2]


def split_columns(text: str, separator: str | None = None) -> list[str]:
    """Split a line.

    text (str): The line.
    separator (str | None): What stands between columns; None for blanks and tabs.
    RETURNS (list[str]): Its columns; without a separator, of an empty line [""].
    """
    return text.split(separator) if separator else _BLANK_RUN.split(text.strip(_BLANKS))


def _read_lines(file: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Read a file's lines with their numbers, from 1, without line ends."""
    number = 0
    try:
        with file.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding) as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\n")
    except (LookupError, UnicodeError) as err:
        # Reading ahead in blocks, Python knows the place only roughly.
        raise CorpusError(f"{file}, behind line {number}: {err}: give its encoding") from err
    except OSError as err:
        raise CorpusError(f"{file}: {err.strerror}") from err
