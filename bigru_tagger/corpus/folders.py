"""Find the data files of a folder, and their formats."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import chain, islice
from pathlib import Path

from ..schemes import is_tag
from .conll import FILE_ENDINGS
from .json_rows import is_row
from .sentences import CorpusError
from .splits import files_by_split, named_splits
from .textfiles import content_suffix, read_lines

logger = logging.getLogger(__name__)

FILE_BUILDERS = ("arrow", "conll", "csv", "json", "pandas", "parquet")
SUFFIX_BUILDERS = {
    ".arrow": "arrow",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
}
"""The builder of `datasets` for each file suffix."""
SPACY_ENDING = ".spacy"
COLUMNS = "columns"
_NO_DATA = {
    *(".bat", ".bib", ".cfg", ".css", ".html", ".ini", ".ipynb", ".jpg", ".js", ".lock", ".log"),
    *(".md", ".pdf", ".png", ".py", ".pyc", ".rst", ".sh", ".svg", ".tex", ".toml", ".xsd"),
    *(".yaml", ".yml"),
}
_ABOUT_DATA = re.compile(
    r"(?<![a-z])(readme|licen[cs]e|copying|changelog|citation|requirements)(?![a-z])", re.IGNORECASE
)
# A list of rows, or an object with a usual key of rows.
_JSON_ROWS = re.compile(
    r"\s*(\[\s*(\{\s*[\"}]|\[\s*\")|\{.*\"(tokens|words|text|sentence|annotations)\"\s*:)",
    re.DOTALL,
)
_N_NAMES = 10


def is_described(folder: Path) -> bool:
    """Check whether the README.md of a folder has metadata for `datasets`.

    folder (Path): The folder.
    RETURNS (bool): Whether the file exists and starts with metadata.
    """
    card = folder / "README.md"
    return card.is_file() and card.read_text(encoding="utf-8", errors="replace")[:3] == "---"


def builder_of(file: Path) -> str:
    """Find the builder of `datasets` for a file.

    file (Path): The file.
    RETURNS (str): The builder; "" if the file does not hold rows.
    """
    ending = content_suffix(file)
    if ending in SUFFIX_BUILDERS or ending in FILE_ENDINGS - {".txt"}:
        return SUFFIX_BUILDERS.get(ending, "")
    with file.open("rb") as start:
        if start.read(4) == b"PAR1":
            return "parquet"
    return "json" if _format_of_content(file) == "json" else ""


def files_by_format(folder: Path) -> dict[str, list[Path]]:
    """Group the files of a folder by their format.

    The format of a `.txt` file, and of a file without suffix that is named after a split, is
    detected from its content. A `.txt` or `.json` file that neither has rows or columns nor is
    named after a split, such as a list of labels, is read only if there are no other data.

    folder (Path): The folder.
    RETURNS (dict[str, list[Path]]): The files at any depth, sorted by path. The formats are
        "spacy", `COLUMNS`, the builders of `datasets`, and "" for other files.
    """
    found: dict[str, list[Path]] = {}
    for file in _visible(folder):
        found.setdefault(_format_in_folder(file), []).append(file)
    others = found.get("", [])
    for ending, name in ((".json", "json"), (".txt", COLUMNS)):
        files = [file for file in others if content_suffix(file) == ending and not _is_about(file)]
        if files and len(found) == 1:
            return {"": [file for file in others if file not in files], name: files}
    return found


def folder_format(folder: Path) -> str:
    """Choose the format in which a folder is read.

    folder (Path): The folder.
    RETURNS (str): See `files_by_format`. It is the format of the files that are named after splits.
    RAISES (CorpusError): There are no data, or the format is ambiguous.
    """
    found = files_by_format(folder)
    unknown = found.pop("", [])
    described = is_described(folder)
    if not found and not described and not any(file.suffix == ".zip" for file in unknown):
        endings = sorted({SPACY_ENDING, *SUFFIX_BUILDERS, *FILE_ENDINGS})
        raise CorpusError(
            f"{folder}: no data files: it has {_names(folder, unknown) or 'no files'}: rename the "
            f"files that hold data, or use one as the path; the endings are {', '.join(endings)}"
        )
    if "spacy" in found:
        return "spacy"
    named = [name for name in found if files_by_split(folder, found[name])]
    # A folder of parquet files may contain a table of columns.
    formats = named or [name for name in found if name != COLUMNS] or [*found, *FILE_BUILDERS][:1]
    if len(formats) > 1 and not (described and COLUMNS not in formats):
        names = ", ".join(found[name][0].name for name in formats)
        raise CorpusError(
            f"{folder}: files of several formats{' are named after splits' * bool(named)} "
            f"({names}): use one of them as the path, or a folder with one format"
        )
    return formats[0]


def warn_of_unread(folder: Path, files: Sequence[Path]) -> None:
    """Log a warning if files of a folder seem to hold data, and belong to no split.

    folder (Path): The folder.
    files (Sequence[Path]): The files of its format, which are all read if none is named after a
        split.
    """
    found = files_by_format(folder)
    if is_described(folder) and COLUMNS not in found and "spacy" not in found:
        return  # the metadata name the files
    others = [
        file
        for file in found.pop("", [])
        if named_splits(file.name) and not _is_about(file) and file.suffix.lower() not in _NO_DATA
    ]
    read = [*chain(*files_by_split(folder, files).values())] or files
    if unread := sorted({*others, *chain(*found.values())} - {*read}):
        _log_unread(folder, _names(folder, unread))


@cache  # once, and not for each split
def _log_unread(folder: Path, names: str) -> None:
    logger.warning(
        "%s: not read: %s: name each file after one split, as in news-test.conll, use it as the "
        "path, or move it elsewhere",
        *(folder, names),
    )


def _names(folder: Path, files: Iterable[Path]) -> str:
    names = [str(file.relative_to(folder)) for file in files]
    rest = len(names) - _N_NAMES
    return ", ".join([*names[:_N_NAMES], f"and {rest} more"] if rest > 0 else names)


def _visible(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not re.match(r"dataset_\w+\.json$", file.name)
        and file.is_file()
    )


def _is_about(file: Path) -> bool:
    return content_suffix(file) in ("", ".txt") and bool(_ABOUT_DATA.search(file.name))


def _format_in_folder(file: Path) -> str:
    ending, named = content_suffix(file), bool(named_splits(file.name))
    if ending == SPACY_ENDING:
        return "spacy"
    if ending not in ("", ".json", ".txt") or (ending == ".json" and named):
        return SUFFIX_BUILDERS.get(ending, COLUMNS if ending in FILE_ENDINGS else "")
    if _is_about(file) or (not ending and not named):
        return ""
    found = _format_of_content(file)
    if ending == ".json":
        return "json" if found == "json" else ""
    return COLUMNS if not found and named and ending else found


def _format_of_content(file: Path) -> str:
    """Detect JSON rows and columns by the first lines; "" for other content."""
    stat = file.stat()
    return _format_of_version(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1 << 14)
def _format_of_version(file: Path, _changed: int, _size: int) -> str:
    try:
        lines = [text for _, text in islice(read_lines(file, "latin-1"), 100) if text.strip()]
    except CorpusError:
        return ""
    # One object in a .json file may be a config.
    is_lines = lines and lines[0].startswith("{") and is_row(lines[0])
    if _JSON_ROWS.match("\n".join(lines)) or (
        is_lines and (len(lines) > 1 or content_suffix(file) != ".json")
    ):
        return "json"
    rows = [row for text in lines if (row := text.split()) and row[0] not in ("#", "-DOCSTART-")]
    width, n = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    usual = [row for row in rows if len(row) == width]
    # "0 O", "1 B-PER", …: a list of labels
    numbers = width == 2 and any(all(row[i].isdecimal() for row in usual) for i in (0, 1))
    tagged = any(is_tag(row[-1], bare=False) for row in usual)
    return COLUMNS if width > 1 and 2 * n > len(rows) and (n > 2 or tagged) and not numbers else ""
