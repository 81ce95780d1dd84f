"""Load one split of a dataset, with Hugging Face `datasets` or from local JSON and CSV files."""

import json
import logging
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ..extras import require
from .csv_rows import CsvRows
from .folders import FILE_BUILDERS, SUFFIX_BUILDERS
from .json_rows import JsonRows
from .sentences import CorpusError
from .sources import PARQUET_REVISION, DatasetSource, data_files_of, literals
from .splits import base_split, canonical_split, files_by_split
from .textfiles import content_suffix, read_lines

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]

    from .columns import AnyRows

logger = logging.getLogger(__name__)

_HUB_SECONDS = 4.0


def load_split(source: DatasetSource, split: str, *, streaming: bool) -> "AnyRows":
    """Load one split.

    A folder written by `save_to_disk` is memory-mapped, with or without streaming. If it holds a
    single Dataset, the stored split must match `split` or be missing. Local JSON and CSV files are
    read row by row, without `datasets`.

    source (DatasetSource): The source.
    split (str): The split, or a slice of one ("train[:10%]").
    streaming (bool): Read while iterating, without a copy on disk.
    RETURNS (AnyRows): The rows.
    RAISES (CorpusError): The source cannot be reached or read, or has no such split.
    """
    source = source.resolve()
    files = source.files(split)
    builder = source.path
    if files and not source.data_files:
        builder = SUFFIX_BUILDERS.get(content_suffix(files[0]), "json")
    if builder != "csv" and (source.encoding.lower() != "utf-8" or source.separator):
        raise CorpusError(
            f"{source.label}: encoding and separator are settings for CSV files: remove them"
        )
    if files and (builder == "json" or (builder == "csv" and not source.load_options)):
        table = CsvRows(files, encoding=source.encoding, separator=source.separator or ",")
        rows = _slice_rows(table if builder == "csv" else JsonRows(files), split)
        next(iter(rows), None)  # raise at once if the files cannot be read
        return rows
    datasets = require("datasets", "reading this data")  # slow to import

    with load_errors(source, files), _quiet_unless_terminal(), _hub_or_cache(source):
        if source.saved:
            return _load_saved(source.path, split)
        path, data_files = source.path, source.data_files
        if files:
            path = builder
            data_files = {base_split(split): [str(file) for file in files]}
        options = source.load_options or {}
        if path == "csv":
            options = source.csv_options | options
        dataset: AnyRows = datasets.load_dataset(
            path,
            source.name,
            split=split,
            revision=source.revision,
            data_files=literals(data_files),
            streaming=streaming,
            **options,
        )
        return dataset


def _load_saved(folder: str, split: str) -> "AnyRows":
    splits = _saved_splits(folder)
    if splits:
        name = base_split(split)
        matches = [key for key in splits if canonical_split(key) == canonical_split(split)]
        if name not in splits and len(matches) != 1:
            raise CorpusError(
                f"{folder}: unknown split {split!r}: choose one of {', '.join(splits)}"
            )
        # Only this one: `datasets` cannot load a split without rows.
        loaded = _load_dataset(Path(folder, name if name in splits else matches[0]))
    else:
        loaded = _load_dataset(Path(folder))
        saved_as = str(loaded.split or "")
        if saved_as and canonical_split(saved_as) != canonical_split(split):
            raise CorpusError(
                f"{folder}: saved as the split {saved_as!r}, but {split!r} was requested: request "
                f"the split {base_split(saved_as)!r}"
            )
        if saved_as == split:  # the slice was taken before the dataset was saved
            return loaded
    start, stop = _slice_of(split, len(loaded))
    return loaded if (start, stop) == (0, len(loaded)) else loaded.select(range(start, stop))


def _load_dataset(folder: Path) -> "Dataset":
    import datasets  # noqa: PLC0415 - slow to import

    try:
        return datasets.load_from_disk(str(folder))
    except (LookupError, TypeError) as err:
        raise CorpusError(
            f"{folder}: it has no rows, or one of its files is damaged ({err!r}): save the dataset "
            "again, or choose another split"
        ) from err


def _saved_splits(folder: str) -> list[str]:
    """List the splits of a DatasetDict; empty for a single Dataset."""
    listing = Path(folder, "dataset_dict.json")
    try:
        return list(json.loads(listing.read_text("utf-8"))["splits"]) if listing.is_file() else []
    except (LookupError, TypeError, ValueError) as err:
        raise CorpusError(f"{listing} is damaged ({err!r}): save the dataset again") from err


def _slice_rows(rows: JsonRows, split: str) -> JsonRows:
    if "[" not in split:
        return rows
    start, stop = _slice_of(split, sum(1 for _ in rows))
    return replace(rows, start=start, stop=stop)


def _slice_of(split: str, n_rows: int) -> tuple[int, int]:
    """Get the first row of a slice ("train[:10%]") and the row after its last."""
    if "[" not in split:
        return 0, n_rows
    import datasets  # noqa: PLC0415 - slow to import

    name = base_split(split)
    try:
        parts = datasets.ReadInstruction.from_spec(split).to_absolute({name: n_rows})
    except (AssertionError, ValueError) as err:
        raise CorpusError(f"split {split!r}: {err}: write it as in 'train[:10%]'") from err
    if len(parts) > 1:
        raise CorpusError(f"split {split!r}: this source supports only one slice at a time")
    return parts[0].from_ or 0, n_rows if parts[0].to is None else parts[0].to


def list_splits(source: DatasetSource) -> list[str]:
    """List the splits of a source.

    source (DatasetSource): The source.
    RETURNS (list[str]): The names; empty for a saved single Dataset, which has no splits.
    RAISES (CorpusError): The source cannot be reached or read.
    """
    source = source.resolve()
    if not source.saved and not source.data_files and not source.name and not source.load_options:
        folder = Path(source.path)
        by_split = files_by_split(folder, data_files_of(folder)) if folder.is_dir() else {}
        if by_split:
            return list(by_split)
    import datasets  # noqa: PLC0415 - slow to import

    with load_errors(source), _quiet_unless_terminal(), _hub_or_cache(source):
        if source.saved:
            return _saved_splits(source.path)
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
def load_errors(source: DatasetSource, files: Sequence[Path] | None = None) -> Iterator[None]:
    """Convert errors of `datasets` and `huggingface_hub` to a CorpusError with advice.

    source (DatasetSource): The source that is loaded or read.
    files (Sequence[Path] | None): Its files, if they are known.
    RAISES (CorpusError): Instead of errors about names, files and networks.
    """
    from datasets.exceptions import DatasetsError  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        yield
    except CorpusError:
        raise
    except (
        *(OSError, RuntimeError, ValueError, EOFError, zlib.error, zipfile.BadZipFile),
        # `datasets` raises StopIteration for an empty file.
        *(StopIteration, DatasetsError),
    ) as err:
        bad = _damaged_file(source, files)
        label = f"{source.label}: {bad}" if bad else source.label
        raise CorpusError(f"cannot load {label}: {_explain(source, err)}") from err


def _damaged_file(source: DatasetSource, files: Sequence[Path] | None) -> Path | None:
    """Find the damaged file, since the errors of `datasets` do not name it."""
    folder = Path(source.path)
    if files is None and folder.is_dir():
        files = sorted(file for file in folder.rglob("*") if file.is_file())
    return next((file for file in files or () if _is_damaged(file)), None)


def _is_damaged(file: Path) -> bool:
    try:
        if file.suffix == ".parquet":
            from pyarrow.parquet import read_metadata  # type: ignore[import-untyped]  # noqa: PLC0415

            read_metadata(file)
        elif file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                return archive.testzip() is not None
        elif content_suffix(file) in (".csv", ".json", ".jsonl"):
            for _ in read_lines(file):
                pass
    except (OSError, ValueError, zipfile.BadZipFile):
        return True
    return False


def _explain(source: DatasetSource, err: Exception) -> str:
    from datasets.exceptions import DatasetNotFoundError  # noqa: PLC0415 - slow to import

    if isinstance(err, RuntimeError) and "script" in str(err):
        return (
            f'{err}. Set revision = "{PARQUET_REVISION}": the hub keeps converted copies of many '
            "such datasets there"
        )
    if isinstance(err, ConnectionError | DatasetNotFoundError):
        builders = f"none of the builders ({', '.join(FILE_BUILDERS)}), "
        return (
            f"{err}. It is {builders if source.data_files else ''}not a local folder, and cannot "
            "be reached as a hub id. Check the spelling and the network. Or download it elsewhere, "
            "save it with dataset.save_to_disk(folder), and use that folder as the path"
        )
    if isinstance(err, StopIteration):
        return "a data file is empty: check the path, or get the file again"
    if isinstance(err.__cause__, UnicodeDecodeError):
        return f"{err.__cause__}: set encoding, such as latin-1, or convert the file to UTF-8"
    # The message of `datasets` is only "An error occurred while generating the dataset".
    message = " ".join((f"{err}: {err.__cause__}" if err.__cause__ else str(err)).split())
    if "tokenizing data" in message:
        message += (
            ": a row has more cells than the first one, or a quotation mark is not closed: fix the "
            "row, set separator, or quoting in load_options"
        )
    return message


@contextmanager
def _hub_or_cache(source: DatasetSource) -> Iterator[None]:
    """Switch `datasets` to offline mode within the context if the hub cannot be reached.

    Otherwise `huggingface_hub` retries for at least 24 seconds.
    """
    from huggingface_hub import constants  # noqa: PLC0415 - slow to import

    if not source.on_hub or constants.HF_HUB_OFFLINE or _is_reachable(constants.ENDPOINT):
        yield
        return
    import datasets  # noqa: PLC0415 - slow to import

    logger.warning("%s cannot be reached: using the local cache", constants.ENDPOINT)
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _is_reachable(address: str) -> bool:
    responses: list[Any] = []

    def request() -> None:
        from huggingface_hub import get_session  # noqa: PLC0415 - slow to import

        try:
            responses.append(get_session().head(address, timeout=_HUB_SECONDS))
        except Exception as err:
            logger.info("%s: %s", address, err)

    # In a thread, since the request's timeout does not limit the DNS lookup.
    thread = Thread(target=request, daemon=True)
    thread.start()
    thread.join(_HUB_SECONDS)
    return bool(responses)


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Disable the progress bars of `datasets` within the context."""
    import datasets  # noqa: PLC0415 - slow to import

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
