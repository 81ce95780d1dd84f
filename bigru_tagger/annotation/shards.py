"""Annotate rows in shards, each of which is one output file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from spacy.tokens import Doc, DocBin

from ..corpus.corpus import SPACY_ENDING
from ..errors import InputError
from ..extras import require
from ..files import atomic_path, replacing
from .annotator import Annotator, Value
from .inputs import Inputs, Row

Format = Literal["parquet", "jsonl", "spacy"]
FORMATS: tuple[Format, ...] = get_args(Format)


class Shard(NamedTuple):
    """The input of one output file.

    number (int): The number of the shard, from 0.
    rows (list[Row]): The rows.
    digest (str): A hash of the rows.
    n_bytes (int): The size of the rows in the input file, which may be compressed.
    """

    number: int
    rows: list[Row]
    digest: str
    n_bytes: int

    def path(self, folder: Path, format_: Format) -> Path:
        """Get the path of the output file.

        folder (Path): The output folder.
        format_ (Format): The format.
        RETURNS (Path): The path.
        """
        ending = SPACY_ENDING if format_ == "spacy" else f".{format_}"
        return folder / f"part-{self.number:05d}{ending}"


class Result(NamedTuple):
    """What is known of an annotated shard.

    shard (int): The number of the shard.
    digest (str): The hash of its rows.
    rows (int): The number of annotated rows.
    tokens (int): The number of their tokens.
    errors (list[dict[str, str]]): The "source" and "error" of each row that was not annotated.
    cut (int): The number of files whose rest could not be read.
    """

    shard: int
    digest: str
    rows: int
    tokens: int
    errors: list[dict[str, str]]
    cut: int


def cut(inputs: Inputs, size: int) -> Iterator[Shard]:
    """Divide rows into shards. The shards depend on the rows alone.

    inputs (Inputs): The rows.
    size (int): A shard ends with the row at which it has this number of bytes.
    YIELDS (Shard): The shards.
    """
    number, filled, position = 0, 0, 0
    rows: list[Row] = []
    digest = sha256()
    for row in inputs:
        content = row.to_bytes()
        rows.append(row)
        digest.update(b"%d\n" % len(content) + content)
        filled += len(content)
        if filled >= size:
            yield Shard(number, rows, digest.hexdigest(), inputs.position - position)
            number, filled, position = number + 1, 0, inputs.position
            rows, digest = [], sha256()
    if rows:
        yield Shard(number, rows, digest.hexdigest(), inputs.position - position)


def annotate_shard(annotator: Annotator, shard: Shard, folder: Path, format_: Format) -> Result:
    """Annotate the rows of a shard, and write its file atomically.

    annotator (Annotator): The annotator.
    shard (Shard): The shard.
    folder (Path): The output folder.
    format_ (Format): The format of the file.
    RETURNS (Result): The counts and errors.
    RAISES (InputError): The input has columns with the names of added columns, or columns that
        cannot be written in the format.
    """
    inputs: list[Mapping[str, Any]] = []
    values: list[Value] = []
    sources: list[str] = []
    errors: list[dict[str, str]] = []
    for row in shard.rows:
        try:
            content = row.parse()
            values.append(content[annotator.find_column(list(content))])
        except ValueError as error:  # noqa: PERF203 - of one row
            errors.append({"source": row.source, "error": str(error)})
        else:
            inputs.append(content)
            sources.append(row.source)
    names = dict.fromkeys(name for content in inputs for name in content)
    if format_ == "spacy":
        docs = DocBin(store_user_data=True)  # the probabilities

        def read(value: Value, doc: Doc) -> tuple[int, Mapping[str, np.ndarray]]:
            docs.add(doc)
            return len(doc), {}
    else:
        annotator.check_names(names)

        def read(value: Value, doc: Doc) -> tuple[int, Mapping[str, np.ndarray]]:
            return len(doc), annotator.read_columns(value, doc)

    tokens = 0
    kept: list[Mapping[str, Any]] = []
    added: list[Mapping[str, np.ndarray]] = []
    annotated = annotator.annotate(values, read)
    for content, source, output in zip(inputs, sources, annotated, strict=True):
        if isinstance(output, Exception):
            errors.append({"source": source, "error": str(output)})
        else:
            tokens += output[0]
            kept.append(content)
            added.append(output[1])
    if annotator.keep is not None:
        names = dict.fromkeys(annotator.keep)
    with atomic_path(shard.path(folder, format_)) as path:
        if format_ == "spacy":
            docs.to_disk(path)
        elif format_ == "jsonl":
            _write_jsonl(path, kept, added, annotator.keep)
        else:
            _write_parquet(path, kept, added, list(names), annotator.columns)
    n_cut = sum(bool(row.error) for row in shard.rows)
    return Result(shard.number, shard.digest, len(kept), tokens, errors, n_cut)


def _write_jsonl(
    path: Path,
    kept: Iterable[Mapping[str, Any]],
    added: Iterable[Mapping[str, np.ndarray]],
    keep: Sequence[str] | None,
) -> None:
    # A lone surrogate, which JSON can hold and UTF-8 cannot, becomes an escape of JSON.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for content, arrays in zip(kept, added, strict=True):
            row = {name: content.get(name) for name in (content if keep is None else keep)}
            row |= {name: _json_values(array) for name, array in arrays.items()}
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _json_values(array: np.ndarray) -> list[Any]:
    values: list[Any] = array.tolist()
    if array.dtype.kind == "f":  # JSON has no NaN
        return [None if value != value else value for value in values]  # noqa: PLR0124
    return values


def _write_parquet(
    path: Path,
    kept: Sequence[Mapping[str, Any]],
    added: Sequence[Mapping[str, np.ndarray]],
    names: Sequence[str],
    types: Mapping[str, str],
) -> None:
    arrow = require("pyarrow", "parquet output")
    require("pyarrow.parquet", "parquet output")
    columns = {}
    for name in names:
        try:
            columns[name] = arrow.array([content.get(name) for content in kept])
        except (arrow.ArrowException, UnicodeEncodeError) as error:  # noqa: PERF203 - of one column
            raise InputError(
                f"the column {name!r} cannot be written to parquet, which needs values of one type "
                f"and valid Unicode: {error}: leave it out with --keep, or use --format jsonl"
            ) from error
    arrow_types = {"int64": arrow.int64(), "float64": arrow.float64(), "str": arrow.string()}
    for name, of in types.items():
        values = [arrays[name].tolist() for arrays in added]
        columns[name] = arrow.array(values, arrow.list_(arrow_types[of]), from_pandas=True)
    arrow.parquet.write_table(arrow.table(columns), path)


class Manifest:
    """The record of finished shards in an output folder, one line each.

    A line is added when the file of a shard has been written. A shard without a line is annotated
    again, and its file is replaced.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Create or continue a manifest.

        folder (Path): The output folder, which is created if it does not exist.
        settings (Mapping[str, Any]): The model and the settings that the output depends on.
        RAISES (InputError): The folder has other files, or was made with other settings.
        """
        self.folder = folder
        self.results: dict[int, Result] = {}
        self._path = folder / "manifest.jsonl"
        # Compare what is read from JSON.
        settings = json.loads(json.dumps(settings))
        if self._path.exists():
            # The last line is incomplete if its writer was killed.
            lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]
            found, *results = map(json.loads, lines)
            changed = [name for name in settings if found.get(name) != settings[name]]
            # Without output, such as after an error in a setting, the settings can change.
            if changed and any(file != self._path for file in folder.iterdir()):
                raise InputError(
                    f"{folder}: was written with another value of "
                    f"{', '.join(f'{name} ({found.get(name)!r})' for name in changed)}: "
                    "use the same, or another output folder"
                )
            self.results = {result["shard"]: Result(**result) for result in results}
        elif folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder}: not empty, and not an output of this command")
        with replacing(self._path) as file:
            for line in (settings, *(result._asdict() for result in self.results.values())):
                file.write(json.dumps(line) + "\n")

    def has(self, shard: Shard, format_: Format) -> bool:
        """Check whether a shard is finished.

        shard (Shard): The shard.
        format_ (Format): The format.
        RETURNS (bool): True if its file exists and it has a line.
        RAISES (InputError): It was made from other rows.
        """
        result = self.results.get(shard.number)
        if result is None:
            return False
        if result.digest != shard.digest:
            raise InputError(
                f"{self.folder}: part {shard.number} was made from other rows than those from "
                f"{shard.rows[0].source} on: the input has changed; use another output folder"
            )
        return shard.path(self.folder, format_).exists()

    def add(self, result: Result) -> None:
        """Add the line of a finished shard.

        result (Result): The result.
        """
        self.results[result.shard] = result
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(result._asdict()) + "\n")

    def check_number(self, n_shards: int) -> None:
        """Check that there are no results of further shards.

        n_shards (int): The number of shards of the input.
        RAISES (InputError): There are.
        """
        if max(self.results, default=-1) >= n_shards:
            raise InputError(
                f"{self.folder}: has {max(self.results) + 1} parts, but the input only "
                f"{n_shards}: the input has changed; use another output folder"
            )

    def write_errors(self) -> int:
        """Write the errors of all shards to `errors.jsonl`, in the order of the rows.

        RETURNS (int): The number of errors. Without errors, there is no file.
        """
        path = self.folder / "errors.jsonl"
        errors = [error for _, result in sorted(self.results.items()) for error in result.errors]
        if errors:
            with replacing(path) as file:
                file.writelines(json.dumps(e, ensure_ascii=False) + "\n" for e in errors)
        else:
            path.unlink(missing_ok=True)
        return len(errors)
