"""Load one split with `datasets`, and say plainly what is wrong where that fails."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import datasets  # type: ignore[import-untyped]
from datasets import Dataset, DatasetDict, IterableDataset
from datasets.exceptions import (  # type: ignore[import-untyped]
    DatasetNotFoundError,
    DatasetsError,
)

from .sentences import CorpusError

logger = logging.getLogger(__name__)

AnyDataset: TypeAlias = Dataset | IterableDataset
DataFiles: TypeAlias = str | list[str] | dict[str, str | list[str]]

SAMPLE = "bigru_tagger/sample"
"""The path of the sample corpus inside the package."""

FILE_BUILDERS = ("arrow", "conll", "csv", "json", "pandas", "parquet")
_PARQUET_REVISION = "refs/convert/parquet"
# The classic ids of datasets that are scripts on the hub, and where their parquet copies are.
_SCRIPTS = {
    "conll2003": "eriktks/conll2003",
    "eriktks/conll2003": "eriktks/conll2003",
    "wnut_17": "leondz/wnut_17",
    "leondz/wnut_17": "leondz/wnut_17",
}
# What datasets and huggingface_hub raise for bad names, bad files and a bad network.
# StopIteration escapes from it where a file is empty.
_LOAD_ERRORS = (OSError, RuntimeError, StopIteration, ValueError, DatasetsError)


class DatasetSource(NamedTuple):
    """What to hand to `datasets.load_dataset`.

    path (str): Hub id, folder, `save_to_disk` folder, builder name, or `SAMPLE`.
    name (str | None): The configuration of a dataset that has several.
    revision (str | None): The hub revision.
    data_files (DataFiles | None): The files for a builder, or a choice of a dataset's files.
    load_options (dict[str, Any] | None): Further arguments, such as a builder's settings.
    """

    path: str
    name: str | None = None
    revision: str | None = None
    data_files: DataFiles | None = None
    load_options: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """RETURNS (str): The source by name, for messages."""
        return f"{self.path} {self.data_files}" if self.data_files else self.path

    @property
    def saved(self) -> bool:
        """RETURNS (bool): Whether `save_to_disk` wrote the folder."""
        return any(
            (Path(self.path) / name).is_file() for name in ("state.json", "dataset_dict.json")
        )

    def resolve(self) -> "DatasetSource":
        """Redirect the two paths that `load_dataset` cannot take as they are.

        RETURNS (DatasetSource): The source to load.
        RAISES (CorpusError): A builder without files, which would read the current directory.
        """
        if self.path == SAMPLE:
            return self._replace(path=str(Path(__file__).parent.parent / "sample"))
        if self.path in FILE_BUILDERS and not self.data_files and not Path(self.path).exists():
            raise CorpusError(f"the builder {self.path!r} needs data_files")
        if self.path in _SCRIPTS and self.revision is None and not Path(self.path).exists():
            # The hub's main revision is a script, which datasets 4 no longer runs.
            path = _SCRIPTS[self.path]
            logger.info("%s: reading %s at %s", self.path, path, _PARQUET_REVISION)
            return self._replace(path=path, revision=_PARQUET_REVISION)
        return self


def load_split(source: DatasetSource, split: str, *, streaming: bool) -> AnyDataset:
    """Load one split.

    A folder written by `save_to_disk` is memory-mapped, whether streaming is asked for or not; one
    that holds a single Dataset has no splits and is read whole.

    source (DatasetSource): Where the data are.
    split (str): The split, or a slice of one ("train[:10%]").
    streaming (bool): Read while iterating, without a copy on disk.
    RETURNS (AnyDataset): The rows.
    RAISES (CorpusError): The source cannot be reached or read, or lacks the split.
    """
    source = source.resolve()
    with _explained(source), _quiet_unless_terminal():
        if source.saved:
            loaded = datasets.load_from_disk(source.path)
            if not isinstance(loaded, DatasetDict):
                return loaded
            if split not in loaded:
                raise ValueError(f"unknown split {split!r}: there are {', '.join(loaded)}")
            return loaded[split]
        dataset: AnyDataset = datasets.load_dataset(
            source.path,
            source.name,
            split=split,
            revision=source.revision,
            data_files=source.data_files,
            streaming=streaming,
            **(source.load_options or {}),
        )
        return dataset


def list_splits(source: DatasetSource) -> list[str]:
    """List the splits of a source.

    source (DatasetSource): Where the data are.
    RETURNS (list[str]): The names; none for a saved single Dataset, which has no splits.
    RAISES (CorpusError): The source cannot be reached or read.
    """
    source = source.resolve()
    with _explained(source), _quiet_unless_terminal():
        if source.saved:
            loaded = datasets.load_from_disk(source.path)
            return list(loaded) if isinstance(loaded, DatasetDict) else []
        return list(
            datasets.get_dataset_split_names(
                source.path,
                source.name,
                revision=source.revision,
                data_files=source.data_files,
                **(source.load_options or {}),
            )
        )


@contextmanager
def _explained(source: DatasetSource) -> Iterator[None]:
    try:
        yield
    except _LOAD_ERRORS as err:
        raise CorpusError(f"cannot load {source.label}: {_explain(source, err)}") from err


def _explain(source: DatasetSource, err: Exception) -> str:
    if isinstance(err, RuntimeError) and "script" in str(err):
        return (
            f'{err}. Give revision = "{_PARQUET_REVISION}", where the hub keeps a converted copy '
            "of many such datasets"
        )
    if isinstance(err, ConnectionError | DatasetNotFoundError):
        builders = f"none of the builders ({', '.join(FILE_BUILDERS)}), and "
        return (
            f"{err}. It is {builders if source.data_files else ''}no folder here, and as a hub id "
            "it cannot be reached. Check the spelling and the network, or download it elsewhere, "
            "write it with dataset.save_to_disk(folder), and give that folder"
        )
    if isinstance(err, StopIteration):
        return "a data file is empty"
    # datasets' own message is "An error occurred while generating the dataset".
    return f"{err}: {err.__cause__}" if err.__cause__ else str(err)


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep the progress bars of `datasets` off."""
    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def _quiet_unless_terminal() -> AbstractContextManager[None]:
    return nullcontext() if sys.stderr.isatty() else without_progress_bars()
