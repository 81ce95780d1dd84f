"""Read the rows of files to annotate, one at a time."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import spacy

from ..corpus.conll import FILE_ENDINGS, find_columns_of_file, read_file
from ..corpus.corpus import SPACY_ENDING, open_corpus
from ..corpus.json_rows import JsonRows
from ..corpus.sentences import CorpusError
from ..corpus.textfiles import BYTE_ORDER_MARK, content_suffix, read_byte_lines
from ..distill.texts import is_plain_text
from ..errors import InputError
from ..extras import require

STANDARD_INPUT = "-"
_JSON_LINES = frozenset((".jsonl", ".ndjson"))
_LAYOUT_LINES = 100_000  # of a column file, to find its columns
_PARQUET_ROWS = 1000  # in memory


class Row(NamedTuple):
    """A row that has been read, but not yet parsed.

    source (str): The file with the line or the row.
    content (bytes | Mapping[str, Any]): A line, or the values by column.
    is_json (bool): Whether a line is JSON, and not a text.
    error (str): Why the rest of the file cannot be read; "" if this is a row.
    """

    source: str
    content: bytes | Mapping[str, Any]
    is_json: bool = False
    error: str = ""

    def parse(self) -> Mapping[str, Any]:
        """Get the values by column.

        RETURNS (Mapping[str, Any]): The values; a line of text is the column "text".
        RAISES (ValueError): The line is not in UTF-8, or not a JSON object; or there is an error.
        """
        if self.error:
            raise ValueError(self.error)
        if not isinstance(self.content, bytes):
            return self.content
        text = self.content.decode("utf-8").strip().lstrip(BYTE_ORDER_MARK)
        if not self.is_json:
            return {"text": text}
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError(f"{text[:40]}… is nested too deeply") from error
        if not isinstance(values, dict):
            raise ValueError(f"{text[:40]} is not a JSON object, such as {{'text': …}}")
        return values

    def to_bytes(self) -> bytes:
        """Convert the content to bytes, which identify it.

        RETURNS (bytes): The line, or the values as JSON.
        """
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content, default=str).encode() + self.error.encode()


class Inputs:
    """The rows of files. Each iteration starts at the first row.

    - `.txt`: one text per line, or the column format if the first lines end with tags.
    - `.jsonl`: one row per line. `.json`: the same, or a list of rows, which is read at once.
    - `.parquet`: rows.
    - `.spacy`: the tokens of the Docs, which are read at once.
    - `.conll`, `.iob` and other endings of column files: the tokens of each sentence.
    - Standard input: one row per line if the first line is a JSON object, else one text per line.

    All but `.parquet` and `.spacy` can be compressed (`.gz`, `.bz2`, `.xz`). Blank lines are
    skipped. If a file is damaged, a row with an error ends it, and the next file is read.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        """Find the files.

        sources (Sequence[str]): Files, glob patterns, or "-" for standard input.
        RAISES (InputError): There is no such file, or its format is unknown.
        """
        self.files = [file for source in sources for file in _find(source)]
        if self.files.count(STANDARD_INPUT) > 1:
            raise InputError("- is there twice: standard input can be read only once")
        self._size_before = 0
        self._current: BinaryIO | None = None

    @property
    def size(self) -> int | None:
        """The number of bytes in all files; None if it is not known."""
        if STANDARD_INPUT in self.files:
            return None
        return sum(Path(file).stat().st_size for file in self.files)

    @property
    def position(self) -> int:
        """The number of bytes that have been read."""
        return self._size_before + (self._current.tell() if self._current else 0)

    def __iter__(self) -> Iterator[Row]:
        """Read the rows.

        YIELDS (Row): The rows of all files in order.
        """
        self._size_before = 0
        for file in self.files:
            if file == STANDARD_INPUT:
                yield from _read_lines(Path("standard input"), sys.stdin.buffer)
                continue
            path = Path(file)
            try:
                with path.open("rb") as raw:
                    self._current = raw
                    yield from _read(path, raw)
            except (CorpusError, OSError) as error:
                self._current = None  # closed by now
                yield Row(file, {}, error=f"{error}. The rest of the file is not annotated")
            finally:
                self._current = None
            self._size_before += path.stat().st_size


def _find(source: str) -> list[str]:
    if source == STANDARD_INPUT:
        return [source]
    path = Path(source)
    if path.is_dir():
        raise InputError(f"{source}: a folder: use a pattern, such as '{path / '*.jsonl'}'")
    matching = has_magic(source) and not path.exists()
    files = sorted(glob(source, recursive=True)) if matching else [source]
    files = [file for file in files if Path(file).is_file()]
    if not files:
        raise InputError(f"{source}: no such file, and no file that matches it as a pattern")
    known = {*_JSON_LINES, ".json", ".parquet", SPACY_ENDING, *FILE_ENDINGS}
    for file in files:
        if content_suffix(Path(file)) not in known:
            raise InputError(
                f"{file}: unknown format: use a file with one of the endings "
                f"{', '.join(sorted(known))}"
            )
    return files


def _read(path: Path, raw: BinaryIO) -> Iterator[Row]:
    ending = content_suffix(path)
    if ending in _JSON_LINES:
        yield from _lines(path, raw, is_json=True)
    elif ending == ".json":
        for source, number, values in JsonRows([path]):
            yield Row(source if ":" in source else f"{source}, row {number}", values)
    elif ending == ".parquet":
        yield from _read_parquet(path, raw)
    elif ending == SPACY_ENDING:
        for number, example in enumerate(open_corpus(str(path))(spacy.blank("xx"))):
            words = [token.text for token in example.reference]
            yield Row(f"{path}, row {number}", {"tokens": words})
    elif ending == ".txt" and is_plain_text(path):
        yield from _lines(path, raw, is_json=False)
    else:
        layout = find_columns_of_file(
            path,
            columns=None,
            separator=None,
            encoding="utf-8",
            labels_alone=True,
            needs_annotation=False,
            n_lines=_LAYOUT_LINES,
        )
        for sentence in read_file(path, layout, "utf-8"):
            yield Row(sentence.place(), {"tokens": list(sentence.words)})


def _read_parquet(path: Path, raw: BinaryIO) -> Iterator[Row]:
    parquet = require("pyarrow.parquet", "reading parquet files")
    arrow = require("pyarrow", "reading parquet files")
    number = 0
    try:
        for batch in parquet.ParquetFile(raw).iter_batches(_PARQUET_ROWS):
            for values in batch.to_pylist():
                yield Row(f"{path}, row {number}", values)
                number += 1
    except arrow.ArrowException as error:
        raise CorpusError(f"{path}: damaged after row {number}: {error}") from error


def _read_lines(path: Path, raw: BinaryIO) -> Iterator[Row]:
    rows = _lines(path, raw, is_json=False)
    first = next(rows, None)
    if first is None:
        return
    try:
        first._replace(is_json=True).parse()
    except ValueError:
        is_json = False
    else:
        is_json = True
    for row in chain([first], rows):
        yield row._replace(is_json=is_json)


def _lines(path: Path, raw: BinaryIO, *, is_json: bool) -> Iterator[Row]:
    for number, line in read_byte_lines(path, raw):
        if line.strip():
            yield Row(f"{path}:{number}", line, is_json)
