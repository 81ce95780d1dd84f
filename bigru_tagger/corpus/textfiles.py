"""Read lines of plain or compressed text files; errors name the file and the line."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .sentences import CorpusError

_OPENERS: dict[str, Callable[..., Any]] = {
    ".bz2": bz2.open,
    ".gz": gzip.open,
    ".xz": lzma.open,
}
BYTE_ORDER_MARK = "\ufeff"
_UNPACK = "unpack it and use its files"
_BY_SUFFIX = {
    **dict.fromkeys((".ods", ".xls", ".xlsx"), "a spreadsheet: export the sheet as a CSV file"),
    **dict.fromkeys((".doc", ".docx", ".odt"), "a text document: export it as plain text"),
    **dict.fromkeys((".npz", ".pt", ".pth"), "saved arrays: write the data as JSON lines"),
}
# What files that are not text start with.
_SIGNATURES = (
    (b"PK\x03\x04", f"an archive: {_UNPACK}"),
    (b"PK\x05\x06", "an archive without files: get it again"),
    (b"7z\xbc\xaf\x27\x1c", f"an archive: {_UNPACK}"),
    (b"Rar!\x1a\x07", f"an archive: {_UNPACK}"),
    (b"\x1f\x8b", f"compressed: {_UNPACK}, or let its name end in .gz if it is no archive"),
    (b"BZh91AY&SY", f"compressed: {_UNPACK}, or let its name end in .bz2 if it is no archive"),
    (b"\xfd7zXZ\x00", f"compressed: {_UNPACK}, or let its name end in .xz if it is no archive"),
    (b"\x28\xb5\x2f\xfd", f"compressed by zstd: {_UNPACK}"),
    (b"\xd0\xcf\x11\xe0", "a document of Microsoft Office: export it as CSV or plain text"),
    (b"%PDF-", "a PDF document: use the data from which it was made"),
    (b"\x93NUMPY", "a NumPy array: write the data as JSON lines"),
    (b"\x89HDF", "an HDF5 file: write the data as JSON lines"),
    (b"SQLite format 3\x00", "a database: export the table as a CSV file"),
    (b"PAR1\x15", "a Parquet file: let its name end in .parquet"),
    (b"ARROW1\x00", "an Arrow file: let its name end in .arrow"),
    *((bytes((0x80, n)), "a pickle: write the data as JSON lines") for n in range(2, 6)),
)


def content_suffix(path: Path) -> str:
    """Get the suffix of the file format, without the suffix of the compression.

    path (Path): A file name, such as "train.jsonl.gz".
    RETURNS (str): The suffix in lower case, such as ".jsonl".
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _OPENERS else suffix


def read_lines(file: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    r"""Read the lines of a file.

    file (Path): The file, plain or compressed (.gz, .bz2, .xz).
    encoding (str): Its encoding.
    YIELDS (tuple[int, str]): The line number, from 1, and the text. Line endings ("\n", "\r\n")
        are removed. Byte-order marks at the start of any line are removed too, since joined files
        contain several.
    RAISES (CorpusError): The file cannot be read, is damaged, is not a text file, contains zero
        bytes, or has a different encoding.
    """
    number = 0
    try:
        with _damage(file, lambda: number), file.open("rb") as raw:
            binary = _decompressed(file, raw)
            # Decode line by line: if blocks are read ahead, the line of a bad byte is unknown.
            lines = (
                (line.decode("utf-8") for line in binary)
                if codecs.lookup(encoding).name == "utf-8"
                else io.TextIOWrapper(binary, encoding, newline="\n")
            )
            for text in lines:
                number += 1
                if "\0" in text:
                    raise CorpusError(
                        f"{file}:{number}: a zero byte: the file is damaged, or its encoding is "
                        "UTF-16 or UTF-32: set encoding (of column and CSV files), or convert the "
                        "file to UTF-8"
                    )
                yield number, text.rstrip("\n").removesuffix("\r").lstrip(BYTE_ORDER_MARK)
    except UnicodeError as err:
        raise CorpusError(
            f"{file}:{number + 1}: {err}: set encoding (of column and CSV files), or convert the "
            "file to UTF-8"
        ) from err
    except LookupError as err:
        raise CorpusError(f"{file}: {err}: set encoding to a name that Python supports") from err


def read_byte_lines(file: Path, raw: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Read the lines of an open file without decoding them.

    file (Path): The name of the file, plain or compressed (.gz, .bz2, .xz).
    raw (BinaryIO): The open file. Its position shows how much has been read.
    YIELDS (tuple[int, bytes]): The line number, from 1, and the line with its line ending.
    RAISES (CorpusError): The file cannot be read, is damaged, or is not a text file.
    """
    number = 0
    with _damage(file, lambda: number):
        for line in _decompressed(file, raw):
            number += 1
            yield number, line


def _decompressed(file: Path, raw: BinaryIO) -> Any:
    opener = _OPENERS.get(file.suffix.lower())
    binary = opener(raw, "rb") if opener else raw
    start: bytes = binary.peek(512) if hasattr(binary, "peek") else b""
    # The mark of tar archives stands after the first file name.
    found = f"an archive: {_UNPACK}" if start[257:262] == b"ustar" else None
    for signature, problem in _SIGNATURES:
        if start.startswith(signature):
            found = problem
    if found:
        raise CorpusError(f"{file}: {_BY_SUFFIX.get(content_suffix(file), found)}")
    return binary


@contextmanager
def _damage(file: Path, lines_read: Callable[[], int]) -> Iterator[None]:
    try:
        yield
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as err:
        raise CorpusError(
            f"{file}: damaged or incomplete after line {lines_read()}: {err}: get the file again"
        ) from err
    except OSError as err:
        raise CorpusError(f"{file}: {err.strerror or err}") from err
