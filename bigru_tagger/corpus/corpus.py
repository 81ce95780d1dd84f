"""Choose the corpus reader for a path."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from functools import cached_property
from glob import has_magic
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from spacy.language import Language
from spacy.training import Example
from spacy.util import registry

from ..errors import ConfigError
from .annotated import AnnotatedLabels
from .column_corpus import ConllCorpus, pattern_folder
from .columns import COLUMN_FIELDS
from .conll import FILE_ENDINGS, find_files
from .folders import (
    COLUMNS,
    FILE_BUILDERS,
    SPACY_ENDING,
    SUFFIX_BUILDERS,
    builder_of,
    files_by_format,
    folder_format,
    warn_of_unread,
)
from .hub import list_splits
from .offsets import Alignment
from .readers import HFCorpus, SentenceReader
from .sentences import CorpusError
from .sources import DataFiles, DatasetSource
from .spacy_files import SpacyCorpus
from .splits import (
    base_split,
    canonical_split,
    check_split,
    choose_files,
    files_by_split,
    named_splits,
    split_names,
)
from .textfiles import content_suffix

__all__ = [
    "SPACY_ENDING",
    "AnyCorpus",
    "ConllCorpus",
    "HFCorpus",
    "JoinedCorpus",
    "SentenceReader",
    "choose_splits",
    "corpus_splits",
    "default_split",
    "group_where_marked",
    "open_corpus",
    "settings_for",
]

logger = logging.getLogger(__name__)

Reader: TypeAlias = Callable[[Language], Iterable[Example]]
_ReaderClass: TypeAlias = "type[SpacyCorpus | HFCorpus | ConllCorpus]"

READING_SETTINGS = (
    *("columns", "separator", "encoding", "scheme", "tag_names", "alignment"),
    *(f"{field}_column" for field in COLUMN_FIELDS if field != "weight"),
)
"""Settings that describe the format of annotation, and not the location of data."""

_DEFAULT_SPLIT = "test"
_READERS: dict[str, _ReaderClass] = {
    "spacy": SpacyCorpus,
    COLUMNS: ConllCorpus,
    **dict.fromkeys(FILE_BUILDERS, HFCorpus),
}


def open_corpus(source: str, *, split: str | None = None, **options: Any) -> Reader:
    """Open a corpus with the reader for its format.

    - SpacyCorpus reads a `.spacy` file, or a folder of them.
    - HFCorpus reads a `.json`, `.jsonl`, `.parquet`, `.csv` or `.arrow` file with the builder of
      `datasets` for its format. It also reads a `.txt` file, or a file with an unknown suffix, if
      it holds Parquet or JSON lines.
    - ConllCorpus reads any other file, a folder of column files, or a glob pattern.
    - HFCorpus reads everything else.

    From a folder or pattern, the files named after the split are read. A warning lists files of a
    folder that seem to hold data and belong to no split.

    source (str): A file, folder or glob pattern, or any other `path` of HFCorpus.
    split (str | None): The split. None reads "test" from a source that has splits. It reads
        everything from a single file, a pattern, or a folder in which no file is named after a
        split.
    options (Any): Settings of the reader.
    RETURNS (Callable[[Language], Iterable[Example]]): The reader.
    RAISES (CorpusError): The file does not exist, there is no file of the split, or the file is
        named after a different split, or the reader does not have one of the settings.
    """
    path = Path(source)
    reader = _choose_reader(path)
    _check_options(source, reader, options)
    if path.is_dir() and not DatasetSource(source).saved and named_splits(split or _DEFAULT_SPLIT):
        # A split of another name may be one of the files that belong to no split.
        warn_of_unread(path, _files(path, reader))
    if path.is_file() and split is not None:
        check_split(source, split)
    if reader is HFCorpus:
        chosen_split = split or _DEFAULT_SPLIT
        if path.is_file():
            options["data_files"] = {base_split(chosen_split): source}
            source = builder_of(path)
        return HFCorpus(source, split=chosen_split, **options)
    if split is not None and base_split(split) != split:
        raise CorpusError(
            f"{source}: slices such as {split!r} work only for datasets: set limit instead"
        )
    if path.is_dir():
        return _open_folder(path, reader, split, options)
    if path.is_file() or split is None:
        return reader(source, **options)
    pattern = ConllCorpus(source, split=split, **options)
    _ = pattern.files  # raise at once if there is no file of the split
    return pattern


def _open_folder(
    folder: Path,
    reader: _ReaderClass,
    split: str | None,
    options: dict[str, Any],
) -> Reader:
    source, files = str(folder), _files(folder, reader)
    chosen: list[Path] = []
    if split is not None or files_by_split(folder, files):
        split = split or _DEFAULT_SPLIT
        chosen = choose_files(folder, files, split)
        if len(chosen) == 1:
            return reader(str(chosen[0]), **options)
    if reader is ConllCorpus:
        corpus = ConllCorpus(source, split=split, **options)
        corpus.files = chosen or files
        return corpus
    if not chosen:
        return reader(source, **options)
    if set(chosen) != set(_files(chosen[0].parent, reader)):
        raise CorpusError(
            f"{source}: {len(chosen)} files of the split {split!r} share a folder with other "
            "files: put each split into its own folder"
        )
    return reader(str(chosen[0].parent), **options)


def _is_undivided(source: str, split: str | None = None) -> bool:
    """Check whether all files of a source are read, because there are no splits to choose from.

    Without a split, all files that match a pattern are read.
    """
    path = Path(source)
    if path.is_dir():
        reader = _choose_reader(path)
        return reader is not HFCorpus and not files_by_split(path, _files(path, reader))
    if path.is_file() or not has_magic(source):
        return path.is_file()
    by_split = files_by_split(pattern_folder(path), find_files(path)) if split else {}
    return len(by_split) < 2 and canonical_split(split or "") not in by_split


def default_split(source: str) -> str | None:
    """Get the split that is read if the user does not choose one.

    source (str): See `open_corpus`.
    RETURNS (str | None): "test" for a source that may have several splits; None for files and
        patterns, and for a folder in which no file is named after a split.
    """
    return None if _is_undivided(source) else _DEFAULT_SPLIT


def settings_for(source: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """Select the settings of a config's reader that also apply to another source.

    source (str): The other source, see `open_corpus`.
    block (Mapping[str, Any]): The config block of the reader.
    RETURNS (dict[str, Any]): The settings in `READING_SETTINGS`, such as `columns` and `scheme`,
        that are set and that the reader of `source` has.
    """
    known = _settings_of(_choose_reader(Path(source)), source)
    return {
        name: block[name]
        for name in READING_SETTINGS
        if name in known and block.get(name) is not None
    }


def group_where_marked(reader: SentenceReader) -> None:
    """Set `sentences_per_doc` from 0 to 1 if the source does not mark documents.

    reader (SentenceReader): The reader, which is modified.
    """
    if reader.sentences_per_doc == 0 and not reader.marks_documents:
        logger.warning("%s does not mark documents: each sentence becomes a Doc", reader.source)
        reader.sentences_per_doc = 1


def corpus_splits(source: str, **options: Any) -> list[str]:
    """List the splits that `open_corpus` can open.

    source (str): See `open_corpus`.
    options (Any): See `open_corpus`.
    RETURNS (list[str]): The names; empty if the source has no splits.
    RAISES (CorpusError): The file does not exist, the dataset cannot be reached, or the reader does
        not have one of the settings.
    """
    path = Path(source)
    reader = _choose_reader(path)
    _check_options(source, reader, options)
    if reader is HFCorpus and not path.is_file():
        chosen = {key: options[key] for key in DatasetSource._fields if key in options}
        return list_splits(DatasetSource(source, **chosen))
    return split_names(path, _files(path, reader)) if path.is_dir() else []


def choose_splits(source: str, selected: Collection[str], **options: Any) -> list[str]:
    """List the splits to read.

    source (str): See `open_corpus`.
    selected (Collection[str]): The user's choice; empty for all splits.
    options (Any): See `open_corpus`.
    RETURNS (list[str]): The names; empty if the source has no splits.
    RAISES (CorpusError): The source does not have one of the selected splits; or see
        `corpus_splits`.
    """
    splits = corpus_splits(source, **options)
    missing = sorted(set(selected) - set(splits))
    if missing:
        advice = f"choose from {', '.join(splits)}" if splits else "it has no splits"
        raise CorpusError(f"{source}: no split {', '.join(missing)}: {advice}")
    return list(selected or splits)


def _files(folder: Path, reader: _ReaderClass) -> list[Path]:
    """List the files of a folder that a reader can read, at any depth."""
    found = files_by_format(folder)
    return sorted(chain(*(found[name] for name in found if _READERS.get(name) is reader)))


def _choose_reader(path: Path) -> _ReaderClass:
    if path.is_dir():
        return HFCorpus if DatasetSource(str(path)).saved else _READERS[folder_format(path)]
    if has_magic(str(path)) and not path.exists():
        return ConllCorpus
    ending = content_suffix(path)
    if path.is_file():
        if ending == SPACY_ENDING:
            return SpacyCorpus
        if ending == ".zip":
            raise CorpusError(f"{path}: an archive: unpack it and use its files")
        return HFCorpus if builder_of(path) else ConllCorpus
    if ending in {SPACY_ENDING, *SUFFIX_BUILDERS, *FILE_ENDINGS}:
        raise CorpusError(f"{path}: no such file")
    return HFCorpus


def _settings_of(reader: _ReaderClass, source: str) -> set[str]:
    """List the settings of a reader that apply to a source: HFCorpus has two for CSV alone."""
    known = set(signature(reader).parameters) - {"path", "split"}
    path = Path(source)
    files = _files(path, reader) if path.is_dir() else [path]
    if reader is HFCorpus and source != "csv" and {*map(content_suffix, files)} != {".csv"}:
        known -= {"encoding", "separator"}
    return known


def _check_options(source: str, reader: _ReaderClass, options: Mapping[str, Any]) -> None:
    known = _settings_of(reader, source)
    unknown = sorted(set(options) - known)
    if unknown:
        raise CorpusError(
            f"{source} is read by {reader.__name__}, which has no setting "
            f"{', '.join(f'`{name}`' for name in unknown)}: "
            f"choose from {', '.join(sorted(known))}"
        )


@registry.readers("bigru_tagger.Corpus.v1")
@dataclass
class AnyCorpus:
    """Read any corpus with the reader for its format, see `open_corpus`.

    Settings that are not described here are those of HFCorpus, ConllCorpus and spaCy's Corpus. A
    setting that the chosen reader does not have is an error. `sentences_per_doc` is an exception:
    it has no effect on a source that holds Docs.

    path (str): The source.
    split (str | None): The split; for None, see `open_corpus`.
    instead (str | None): A source that replaces `path` if it is set. In the configs it is
        `${paths.train}`, which is null by default. A single file is read regardless of its name.
        Files that are not named after splits are all read, with a warning. From a source with
        several splits, only `split` is read.
    sentences_per_doc (int): The maximum number of sentences per Doc; 0 for whole documents. If
        `instead` does not mark documents, 0 is treated as 1, with a warning.
    gold_preproc (bool): Only for `.spacy` files: one Example per sentence, with gold tokens.
    max_length (int): Only for `.spacy` files: split longer Docs into sentences, and skip longer
        sentences; 0 for no limit.
    """

    path: str
    _: KW_ONLY
    split: str | None = None
    instead: str | None = None
    scheme: str | None = None
    sentences_per_doc: int = 1
    given_sentences: bool = True
    spans_key: str = "chunks"
    limit: int = 0
    name: str | None = None
    revision: str | None = None
    data_files: DataFiles | None = None
    load_options: dict[str, Any] | None = None
    streaming: bool = False
    tokens_column: str | None = None
    ner_column: str | None = None
    pos_column: str | None = None
    chunk_column: str | None = None
    document_column: str | None = None
    text_column: str | None = None
    entities_column: str | None = None
    weight_column: str | None = None
    tag_names: dict[str, list[str]] | None = None
    alignment: Alignment = "strict"
    columns: list[str] | None = None
    separator: str | None = None
    encoding: str = "utf-8"
    gold_preproc: bool = False
    max_length: int = 0
    augmenter: Callable[..., Any] | None = None
    annotated_labels: AnnotatedLabels | None = None
    rename: dict[str, str] | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the corpus. Each call starts at the beginning.

        nlp (Language): The pipeline whose vocabulary the Docs share, and whose tokenizer is used
            for texts.
        YIELDS (Example): A Doc without annotation as `predicted`, the gold Doc as `reference`.
        RAISES (CorpusError): See `open_corpus` and the reader.
        """
        yield from self.reader(nlp)

    @cached_property
    def reader(self) -> Reader:
        """RETURNS (Callable[[Language], Iterable[Example]]): The reader for the source."""
        source = self.instead or self.path
        split = self.split
        if self.instead is not None:
            split = DatasetSource(source).saved_split or (None if Path(source).is_file() else split)
            if split is not None and _is_undivided(source, split):
                logger.warning("%s has no splits: all of it is read as %r", source, split)
                split = None
        elif split is not None and Path(source).is_file() and not named_splits(Path(source).name):
            logger.warning(
                "%s has no splits: all of it is read as %r. Set --paths.train and --paths.dev to "
                "use a separate source for each",
                *(source, split),
            )
        options = self._options(_choose_reader(Path(source)))
        reader = open_corpus(source, split=split, **options)
        if self.instead is not None and isinstance(reader, SentenceReader):
            group_where_marked(reader)
        return reader

    def _options(self, reader: _ReaderClass) -> dict[str, Any]:
        """Collect the settings that differ from their default.

        `sentences_per_doc` is left out if the reader does not have it.
        """
        known = signature(reader).parameters
        return {
            setting.name: value
            for setting in fields(self)
            if setting.name not in ("path", "split", "instead")
            and setting.default is not MISSING
            and (value := getattr(self, setting.name)) != setting.default
            and (setting.name in known or setting.name != "sentences_per_doc")
        }


@registry.readers("bigru_tagger.JoinedCorpus.v1")
@dataclass
class JoinedCorpus:
    """Read several corpora as one.

    `spacy train` mixes their texts, but not with `max_epochs = -1`. Readers of data with other
    labels need the settings `rename` and `annotated_labels`.

    corpora (dict[str, Any]): The readers by name, each in a block `[corpora.train.corpora.NAME]`.
        They are read in this order.
    """

    corpora: dict[str, Any]  # a config with a type for the readers does not resolve

    def __post_init__(self) -> None:
        given = self.corpora if isinstance(self.corpora, Mapping) else {}
        wrong = [name for name, reader in given.items() if not callable(reader)]
        if wrong or not given:
            problem = f"Without a reader: {', '.join(wrong)}" if wrong else "It has no block"
            raise ConfigError(
                "bigru_tagger.JoinedCorpus.v1 needs a block with a reader for each corpus, such as "
                f"[corpora.train.corpora.news]. {problem}"
            )

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the corpora. Each call starts at the beginning.

        nlp (Language): The pipeline, see the readers.
        YIELDS (Example): The examples of all readers.
        RAISES (CorpusError): See the readers.
        """
        for corpus in self.corpora.values():
            yield from corpus(nlp)
