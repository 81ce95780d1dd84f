"""Locate a corpus for Hugging Face `datasets`, and list the local files of a split."""

import json
import logging
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from .conll import FILE_ENDINGS
from .folders import FILE_BUILDERS, SUFFIX_BUILDERS, files_by_format, is_described
from .sentences import CorpusError
from .splits import base_split, choose_files, files_by_split
from .textfiles import content_suffix

logger = logging.getLogger(__name__)

DataFiles: TypeAlias = str | list[str] | dict[str, str | list[str]]

SAMPLE = "bigru_tagger/sample"
"""The path of the sample corpus inside the package."""

PARQUET_REVISION = "refs/convert/parquet"
"""The branch of the hub's converted copies of datasets."""
# Ids of datasets that are loading scripts on the hub, and the repositories of their parquet copies.
_SCRIPTS = {
    "conll2003": "eriktks/conll2003",
    "eriktks/conll2003": "eriktks/conll2003",
    "wnut_17": "leondz/wnut_17",
    "leondz/wnut_17": "leondz/wnut_17",
}


class DatasetSource(NamedTuple):
    """Arguments for `datasets.load_dataset`.

    path (str): Hub id, folder, `save_to_disk` folder, builder name, or `SAMPLE`.
    name (str | None): The configuration of a dataset that has several.
    revision (str | None): The hub revision.
    data_files (DataFiles | None): The files for a builder, or a selection of a dataset's files.
    load_options (dict[str, Any] | None): Further arguments, such as settings of a builder.
    encoding (str): The encoding of CSV files.
    separator (str | None): The separator of CSV files; None for a comma.
    """

    path: str
    name: str | None = None
    revision: str | None = None
    data_files: DataFiles | None = None
    load_options: dict[str, Any] | None = None
    encoding: str = "utf-8"
    separator: str | None = None

    @property
    def label(self) -> str:
        """RETURNS (str): The path and the data files, for messages."""
        return f"{self.path} {self.data_files}" if self.data_files else self.path

    @property
    def saved(self) -> bool:
        """RETURNS (bool): Whether the path is a folder written by `save_to_disk`."""
        return any(
            (Path(self.path) / name).is_file() for name in ("state.json", "dataset_dict.json")
        )

    @property
    def csv_options(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): The settings for CSV files, in which "NA" is a token."""
        return {
            "encoding": self.encoding,
            "sep": self.separator or ",",
            "keep_default_na": False,
        }

    def resolve(self) -> "DatasetSource":
        """Resolve paths that `load_dataset` does not accept.

        `SAMPLE` becomes the sample's folder. Ids of loading scripts become the ids of their parquet
        copies.

        RETURNS (DatasetSource): The source to load.
        RAISES (CorpusError): The path is a builder without `data_files`, which would read the
            current directory, or looks like a local file or folder and does not exist.
        """
        if self.path == SAMPLE:
            return self._replace(path=str(Path(__file__).parent.parent / "sample"))
        if Path(self.path).exists():
            return self
        if self.path in FILE_BUILDERS:
            if not self.data_files:
                raise CorpusError(f"the builder {self.path!r} needs data_files: set it")
            return self
        ending = content_suffix(Path(self.path))
        if self.path.count("/") > 1 or ending in {*SUFFIX_BUILDERS, *FILE_ENDINGS}:
            raise CorpusError(f"{self.path}: no such file or folder")
        if self.path in _SCRIPTS and self.revision is None:
            # The hub's main revision is a loading script, which datasets 4 no longer runs.
            path = _SCRIPTS[self.path]
            logger.info("%s: reading %s at %s", self.path, path, PARQUET_REVISION)
            return self._replace(path=path, revision=PARQUET_REVISION)
        return self

    @property
    def saved_split(self) -> str | None:
        """RETURNS (str | None): The split of a saved single Dataset, if it is stored."""
        state = Path(self.path, "state.json")
        try:
            return (
                json.loads(state.read_text(encoding="utf-8"))["_split"] if state.is_file() else None
            )
        except (LookupError, TypeError, ValueError):
            return None  # damaged, which is an error when it is loaded

    @property
    def on_hub(self) -> bool:
        """RETURNS (bool): Whether the path can only be a hub id."""
        return self.path not in FILE_BUILDERS and not Path(self.path).exists()

    def files(self, split: str) -> list[Path] | None:
        """List the local files of one split.

        split (str): The split, or a slice of one.
        RETURNS (list[Path] | None): The files, chosen by the splits in their names. CSV files
            without such names are the split "train". None if `datasets` has to find the files.
        RAISES (CorpusError): See `choose_files`.
        """
        if self.name or self.load_options:
            return None
        if self.path in ("csv", "json") and self.data_files:
            return _local_files(self.path, self.data_files, base_split(split))
        folder = Path(self.path)
        files = [] if self.data_files or self.saved else data_files_of(folder)
        # `datasets` chooses files by their suffixes.
        known = all(content_suffix(file) in SUFFIX_BUILDERS for file in files)
        by_split = files_by_split(folder, files)
        if by_split or not known:
            return choose_files(folder, files, split)
        csv = [file for file in files if content_suffix(file) == ".csv"]
        return csv if csv and base_split(split) == "train" else None


def data_files_of(folder: Path) -> list[Path]:
    """List the files of a folder that builders of `datasets` read.

    folder (Path): The folder.
    RETURNS (list[Path]): The files; empty if they need different builders, or if README.md has
        metadata: `datasets` then reads the splits from the metadata.
    """
    found = files_by_format(folder)
    builders = [name for name in FILE_BUILDERS if name in found]
    return [] if is_described(folder) or len(builders) != 1 else found[builders[0]]


def _literal(name: str) -> str:
    """Escape the wildcards in the name of a file that exists."""
    return escape(name) if has_magic(name) and Path(name).exists() else name


def literals(data_files: DataFiles | None) -> DataFiles | None:
    """Escape the wildcards in the names of files that exist.

    data_files (DataFiles | None): Names of files, or patterns.
    RETURNS (DataFiles | None): The same, for `datasets.load_dataset`.
    """
    if isinstance(data_files, dict):
        return {split: literals(names) for split, names in data_files.items()}  # type: ignore[misc]
    if isinstance(data_files, str):
        return _literal(data_files)
    return data_files if data_files is None else [_literal(name) for name in data_files]


def _local_files(builder: str, data_files: DataFiles, split: str) -> list[Path] | None:
    """List the local JSON or CSV files of one split; None if there are none, or others as well."""
    by_split = data_files if isinstance(data_files, dict) else {"train": data_files}
    names = by_split.get(split, [])
    files: list[Path] = []
    for name in [names] if isinstance(names, str) else names:
        found = sorted(glob(_literal(str(name)), recursive=True))
        if not found:
            return None
        files += map(Path, found)
    if builder == "csv":
        fits = all(file.suffix != ".zip" for file in files)
    else:
        fits = {*map(content_suffix, files)} <= {".json", ".jsonl", ".txt"}
    return files if files and fits and all(map(Path.is_file, files)) else None
