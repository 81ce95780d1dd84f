"""Corpus readers for `[corpora]` blocks: datasets, column files, and whatever a path may name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from glob import has_magic
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from spacy.language import Language
from spacy.training import Corpus, Example
from spacy.util import registry

from .columns import BATCH_SIZE, Columns, find_columns, read_rows
from .conll import FILE_ENDINGS, check_columns, find_files, read_files
from .hub import AnyDataset, DataFiles, DatasetSource, list_splits, load_split
from .schemes import check_scheme
from .sentences import CorpusError, Sentence, TagSchemes, detect_layer, make_examples


@dataclass
class SentenceReader(ABC):
    """What all readers of annotated sentences share: from sentences to Examples.

    scheme (str | None): The scheme of the tags; None to tell it from the tags themselves.
    sentences_per_doc (int): Sentences a Doc, never across the end of a document; 0 for whole
        documents.
    given_sentences (bool): Where a Doc has several sentences, let the pipeline know where they
        start, as it knows the tokens. False where a component of the pipeline finds that out.
    spans_key (str): Where in `doc.spans` the chunks go.
    limit (int): At most so many Docs; 0 for all.

    `needs_annotation` is no setting of a config: set to False, it lets tokens alone do.
    """

    _: KW_ONLY
    scheme: str | None = None
    sentences_per_doc: int = 1
    given_sentences: bool = True
    spans_key: str = "chunks"
    limit: int = 0
    needs_annotation: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if self.scheme is not None:
            self.scheme = check_scheme(self.scheme)
        for setting in ("sentences_per_doc", "limit"):
            if getattr(self, setting) < 0:
                raise ValueError(f"{setting} must be 0 or more, not {getattr(self, setting)}")

    @property
    @abstractmethod
    def source(self) -> str:
        """RETURNS (str): The corpus by name, for messages."""

    @abstractmethod
    def sentences(self) -> Iterator[Sentence]:
        """Read the sentences as the source has them, from the first each time.

        YIELDS (Sentence): The sentences.
        RAISES (CorpusError): The corpus cannot be read.
        """

    def scheme_evidence(self) -> Iterator[Sentence]:
        """Read the sentences whose tags tell the scheme.

        YIELDS (Sentence): All, unless reading all is dear.
        """
        return self.sentences()

    @cached_property
    def schemes(self) -> TagSchemes:
        """RETURNS (TagSchemes): The schemes of the tags, found once."""
        if self.scheme is not None:
            return TagSchemes(self.scheme, self.scheme)
        return TagSchemes(
            ner=detect_layer(self.scheme_evidence(), "ner"),
            chunks=detect_layer(self.scheme_evidence(), "chunks"),
        )

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the corpus, from its beginning each time.

        nlp (Language): Whose vocabulary the Docs get.
        YIELDS (Example): A bare Doc with the gold tokens (and sentences), and the gold Doc.
        RAISES (CorpusError): The corpus cannot be read, or holds no tokens.
        """
        empty = True
        for example in make_examples(
            self.sentences(),
            nlp.vocab,
            schemes=self.schemes,
            sentences_per_doc=self.sentences_per_doc,
            given_sentences=self.given_sentences,
            spans_key=self.spans_key,
            limit=self.limit,
        ):
            empty = False
            yield example
        if empty:
            raise CorpusError(f"{self.source}: no sentence has tokens: is it the right split?")


@registry.readers("bigru_tagger.HFCorpus.v1")
@dataclass
class HFCorpus(SentenceReader):
    """Read a split of a dataset, through Hugging Face `datasets`.

    path (str): A hub id; a folder of parquet, JSON or arrow files; a folder that `save_to_disk`
        wrote; a builder's name (json, parquet, csv, conll) with `data_files`; or
        `bigru_tagger/sample`, the sample corpus in this package. The classic id `conll2003` is
        read from the hub's parquet copy.
    name (str | None): The configuration of a dataset that has several.
    split (str): The split, or a slice of one ("train[:10%]"). A saved single Dataset has none and
        is read whole.
    revision (str | None): The hub revision.
    data_files (DataFiles | None): The files.
    load_options (dict[str, Any] | None): Further arguments of `datasets.load_dataset`, such as
        a builder's settings (`column_names` of conll, `field` of json).
    streaming (bool): Read while iterating, without a copy on disk.
    tokens_column (str | None): The column of tokens. For this and the next four: None looks
        for the usual names, "" switches the column off.
    ner_column (str | None): The column of entity tags.
    pos_column (str | None): The column of part-of-speech tags.
    chunk_column (str | None): The column of chunk tags.
    document_column (str | None): The column that says which document a sentence is from.
    tag_names (dict[str, list[str]] | None): By column, the names of tags that the dataset holds
        as plain numbers.
    """

    path: str
    _: KW_ONLY
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: DataFiles | None = None
    load_options: dict[str, Any] | None = None
    streaming: bool = False
    tokens_column: str | None = None
    ner_column: str | None = None
    pos_column: str | None = None
    chunk_column: str | None = None
    document_column: str | None = None
    tag_names: dict[str, list[str]] | None = None

    @property
    def source(self) -> str:
        """RETURNS (str): Dataset and split, for messages."""
        return f"{self.location.label} [{self.split}]"

    @property
    def location(self) -> DatasetSource:
        """RETURNS (DatasetSource): What to load."""
        return DatasetSource(
            self.path, self.name, self.revision, self.data_files, self.load_options
        )

    @cached_property
    def dataset(self) -> AnyDataset:
        """RETURNS (AnyDataset): The rows, loaded once."""
        return load_split(self.location, self.split, streaming=self.streaming)

    @cached_property
    def columns(self) -> Columns:
        """RETURNS (Columns): The columns, found once."""
        columns = find_columns(
            self.dataset,
            self.source,
            {name: getattr(self, f"{name}_column") for name in Columns._fields},
            needs_annotation=self.needs_annotation,
        )
        if self.sentences_per_doc == 0 and columns.document is None:
            raise CorpusError(
                f"{self.source}: sentences_per_doc = 0 asks for whole documents, but no column "
                "says where they end: give document_column, or sentences_per_doc = 1"
            )
        return columns

    def sentences(self) -> Iterator[Sentence]:
        """Read the rows, from the first each time.

        YIELDS (Sentence): One a row.
        RAISES (CorpusError): The split cannot be loaded, or a row cannot be read.
        """
        return read_rows(self.dataset, self.source, self.columns, self.tag_names or {})

    def scheme_evidence(self) -> Iterator[Sentence]:
        """Read all rows, or of a stream the first batch.

        YIELDS (Sentence): One a row.
        """
        return islice(self.sentences(), BATCH_SIZE if self.streaming else None)


@registry.readers("bigru_tagger.ConllCorpus.v1")
@dataclass
class ConllCorpus(SentenceReader):
    """Read column files: one token a line with its tags, a blank line behind each sentence.

    `-DOCSTART-` lines end documents, and so does the end of a file. A line that starts with `#`
    is a comment where it has not as many columns as the others.

    path (str | Path): A file, a folder of column files, or a glob pattern.
    split (str | None): In a folder, read the file that is named after this split, such as
        "train.conll" or "eng.testa" (which is CoNLL-2003's validation split); None reads all files.
    columns (list[str] | None): What each column holds: tokens, ner, pos, chunk, or _ for nothing
        of these. None tells two columns (tokens, ner) and the four of CoNLL-2003.
    separator (str | None): What stands between columns; None for blanks and tabs.
    encoding (str): The files' encoding.
    """

    path: str | Path
    _: KW_ONLY
    split: str | None = None
    columns: list[str] | None = None
    separator: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns is not None:
            check_columns(self.columns)

    @property
    def source(self) -> str:
        """RETURNS (str): The path, for messages."""
        return str(self.path) if self.split is None else f"{self.path} [{self.split}]"

    def sentences(self) -> Iterator[Sentence]:
        """Read the files' sentences, from the first each time.

        YIELDS (Sentence): One at a time.
        RAISES (CorpusError): There is no such file, or it cannot be read.
        """
        path = Path(self.path)
        if self.split is not None and path.is_dir():
            path = _file_of_split(path, ConllCorpus, self.split)
        return read_files(
            find_files(path),
            columns=self.columns,
            separator=self.separator,
            encoding=self.encoding,
            needs_annotation=self.needs_annotation,
        )


Reader: TypeAlias = Callable[[Language], Iterable[Example]]
_ReaderClass: TypeAlias = type[Corpus | HFCorpus | ConllCorpus]

SPACY_ENDING = ".spacy"
_BUILDERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
# What a split is called in file names: "dev.conll", "eng.testa".
_FILE_SPLITS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev", "testa"),
    "test": ("test", "testb"),
}


def open_corpus(source: str, *, split: str = "test", **options: Any) -> Reader:
    """Open whatever a user names, with the reader that fits.

    A `.spacy` file, or a folder of them, goes to spaCy's Corpus; a `.json`, `.jsonl`, `.parquet`
    or `.csv` file to HFCorpus with that builder; any other file, a folder of column files, or a
    glob pattern to ConllCorpus; everything else to HFCorpus. In a folder the file named after the
    split is taken, or all of them where no file is named after any split.

    source (str): A path, or what HFCorpus takes as one.
    split (str): The split, of a source that has several.
    options (Any): Settings of that reader.
    RETURNS (Callable[[Language], Iterable[Example]]): The reader.
    RAISES (CorpusError): No such file, or no file of that split. (TypeError): A setting that the
        reader does not have.
    """
    path = Path(source)
    reader = _choose_reader(path)
    _check_options(source, reader, options)
    if reader is HFCorpus:
        if path.is_file():
            options["data_files"] = {split: source}
            source = _BUILDERS[path.suffix]
        return HFCorpus(source, split=split, **options)
    return reader(str(_choose_file(path, reader, split)), **options)


def corpus_splits(source: str, **options: Any) -> list[str]:
    """List the splits that `open_corpus` can open.

    source (str): As for `open_corpus`.
    options (Any): As for `open_corpus`.
    RETURNS (list[str]): Their names; none where the source is one corpus without splits.
    RAISES (CorpusError): No such file, or the dataset cannot be reached. (TypeError): A setting
        that the reader does not have.
    """
    path = Path(source)
    reader = _choose_reader(path)
    _check_options(source, reader, options)
    if reader is HFCorpus and not path.is_file():
        chosen = {key: options[key] for key in DatasetSource._fields if key in options}
        return list_splits(DatasetSource(source, **chosen))
    return list(_files_by_split(path, reader)) if path.is_dir() else []


def _choose_reader(path: Path) -> _ReaderClass:
    if path.is_dir():
        endings = {file.suffix for file in path.rglob("*")}
        if SPACY_ENDING in endings:
            return Corpus
        # A folder of parquet files may well hold a LICENSE.txt.
        column_files = endings & FILE_ENDINGS and not endings & {*_BUILDERS, ".arrow"}
        return ConllCorpus if column_files else HFCorpus
    if has_magic(str(path)):
        return ConllCorpus
    if path.is_file():
        if path.suffix == SPACY_ENDING:
            return Corpus
        return HFCorpus if path.suffix in _BUILDERS else ConllCorpus
    if path.suffix in {SPACY_ENDING, *_BUILDERS, *FILE_ENDINGS}:
        raise CorpusError(f"{path}: no such file")
    return HFCorpus


def _check_options(source: str, reader: _ReaderClass, options: Mapping[str, Any]) -> None:
    known = set(signature(reader).parameters) - {"path", "split"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(
            f"{source} is read by {reader.__name__}, which has no setting {', '.join(unknown)}: "
            f"it has {', '.join(sorted(known))}"
        )


def _files_by_split(folder: Path, reader: _ReaderClass) -> dict[str, Path]:
    """Find the files, or for spaCy's Corpus also folders, that are named after splits."""
    endings = {SPACY_ENDING, ""} if reader is Corpus else FILE_ENDINGS
    files = sorted(file for file in folder.iterdir() if file.suffix in endings)
    names = [name for aliases in _FILE_SPLITS.values() for name in aliases]
    return {
        name: file
        for name in names
        for file in files
        if name in (file.stem, file.suffix.removeprefix("."))
    }


def _choose_file(path: Path, reader: _ReaderClass, split: str) -> Path:
    if not path.is_dir() or not _files_by_split(path, reader):
        return path
    return _file_of_split(path, reader, split)


def _file_of_split(folder: Path, reader: _ReaderClass, split: str) -> Path:
    by_split = _files_by_split(folder, reader)
    aliases = next((names for names in _FILE_SPLITS.values() if split in names), ())
    for name in (split, *aliases):
        if name in by_split:
            return by_split[name]
    raise CorpusError(
        f"{folder}: no file of the split {split!r}: there are {', '.join(by_split) or 'none'}"
    )
