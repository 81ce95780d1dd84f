"""Corpus readers for `[corpora]` blocks: rows of datasets and JSON files, and column files."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from glob import has_magic
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spacy.language import Language
from spacy.training import Example
from spacy.util import registry

from ..schemes import LABELS_ALONE, TagError, check_scheme
from .columns import BATCH_SIZE, COLUMN_FIELDS, Columns, RowReader, find_columns
from .conll import FILE_ENDINGS, Layout, find_columns_of_file, find_files, read_file
from .hub import DataFiles, DatasetSource, explained, load_split
from .json_rows import JsonRows
from .layouts import check_columns
from .offsets import Alignment, AnnotatedText, check_alignment, make_text_examples
from .sentences import CorpusError, Sentence, TagSchemes, detect_layer, make_examples
from .splits import canonical_split, check_split, choose_files, files_by_split
from .textfiles import content_suffix

if TYPE_CHECKING:
    from .columns import AnyRows

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")


@dataclass
class SentenceReader(ABC):
    """What all readers of annotated sentences share: from sentences to Examples.

    scheme (str | None): The scheme of the tags; None to tell it from the tags themselves. "io"
        reads labels without prefixes.
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

    @property
    @abstractmethod
    def marks_documents(self) -> bool:
        """RETURNS (bool): Whether the source says where documents end."""

    def scheme_evidence(self) -> Iterator[Sentence]:
        """Read the sentences whose tags tell the scheme.

        YIELDS (Sentence): All, unless reading all is dear.
        """
        return self.sentences()

    @property
    def holds_texts(self) -> bool:
        """RETURNS (bool): Whether the source has texts with offsets, and no sentences of tokens."""
        return False

    @abstractmethod
    def asks_for(self, layer: str) -> bool:
        """Whether the user named the column of a layer.

        layer (str): "ner", "pos" or "chunk".
        RETURNS (bool): False where the column was found by its name or by what is in it.
        """

    @cached_property
    def schemes(self) -> TagSchemes:
        """RETURNS (TagSchemes): The schemes of the tags, found once."""
        try:
            chunks = detect_layer(self.scheme_evidence(), "chunks")
        except CorpusError as err:
            if self.asks_for("chunk") or not isinstance(err.__cause__, TagError):
                raise
            logger.warning("%s. The column of chunks is left out, since nobody asked for it", err)
            chunks = ""
        return TagSchemes(
            ner=self.scheme or detect_layer(self.scheme_evidence(), "ner"),
            chunks=(self.scheme or chunks) if chunks else "",
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
    """Read a split of a dataset, through Hugging Face `datasets`, or the rows of JSON files.

    A row holds the tokens of a sentence and their tags; or a text and its entities by character
    offsets, in any of the forms of `data.offsets`, which is one Doc, tokenized by the pipeline.

    path (str): A hub id; a folder of parquet, JSON or arrow files; a folder that `save_to_disk`
        wrote; a builder's name (json, parquet, csv, conll) with `data_files`; or
        `bigru_tagger/sample`, the sample corpus in this package. The classic id `conll2003` is
        read from the hub's parquet copy.
    name (str | None): The configuration of a dataset that has several.
    split (str): The split, or a slice of one ("train[:10%]"). A saved single Dataset is read whole
        where it was not saved as another split.
    revision (str | None): The hub revision.
    data_files (DataFiles | None): The files.
    load_options (dict[str, Any] | None): Further arguments of `datasets.load_dataset`, such as
        a builder's settings (`column_names` of conll, `field` of json).
    streaming (bool): Read while iterating, without a copy on disk.
    tokens_column (str | None): The column of tokens. For this and the next six: None looks
        for the usual names, "" switches the column off. What cannot be read of parts of speech and
        chunks is left out with a warning, unless their column is named here.
    ner_column (str | None): The column of entity tags.
    pos_column (str | None): The column of part-of-speech tags.
    chunk_column (str | None): The column of chunk tags.
    document_column (str | None): The column that says which document a sentence is from.
    text_column (str | None): The column of texts with character offsets.
    entities_column (str | None): The column of their entities.
    tag_names (dict[str, list[str]] | None): By column, the names of tags that the dataset holds
        as plain numbers.
    alignment (Alignment): What becomes of entities of a text that start or end within a token: all
        are listed in an error ("strict"), or in a warning, with all tokens that they touch
        ("expand") or cover ("contract") as the entity.
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
    text_column: str | None = None
    entities_column: str | None = None
    tag_names: dict[str, list[str]] | None = None
    alignment: Alignment = "strict"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alignment(self.alignment)

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
    def dataset(self) -> "AnyRows":
        """RETURNS (AnyRows): The rows, loaded once."""
        return load_split(self.location, self.split, streaming=self.streaming)

    @cached_property
    def columns(self) -> Columns:
        """RETURNS (Columns): The columns, found once."""
        return find_columns(
            self.dataset,
            self.source,
            {name: getattr(self, f"{name}_column") for name in COLUMN_FIELDS},
            needs_annotation=self.needs_annotation,
        )

    @cached_property
    def _rows(self) -> RowReader:
        return RowReader(self.dataset, self.source, self.columns, self.tag_names or {})

    @property
    def marks_documents(self) -> bool:
        """RETURNS (bool): Whether there is a column of documents, or a row is a text."""
        return self.holds_texts or self.columns.document is not None

    @property
    def holds_texts(self) -> bool:
        """RETURNS (bool): Whether rows are texts with offsets, and no sentences of tokens."""
        return self.columns.text is not None

    def asks_for(self, layer: str) -> bool:
        """Whether the user named the column of a layer.

        layer (str): "ner", "pos" or "chunk".
        RETURNS (bool): False where the column was found by its name.
        """
        return layer in self.columns.asked

    def sentences(self) -> Iterator[Sentence]:
        """Read the rows, from the first each time.

        YIELDS (Sentence): One a row.
        RAISES (CorpusError): The split cannot be loaded, or a row cannot be read.
        """
        if self.holds_texts:
            raise CorpusError(
                f"{self.source}: texts with offsets, which are no sentences of tokens"
            )
        if self.sentences_per_doc == 0 and not self.marks_documents:
            raise CorpusError(
                f"{self.source}: sentences_per_doc = 0 asks for whole documents, but no column "
                "says where they end: give document_column, or sentences_per_doc = 1"
            )
        return self._explained(self._rows.sentences())

    def texts(self) -> Iterator[AnnotatedText]:
        """Read the texts, from the first each time, where rows are texts with offsets.

        YIELDS (AnnotatedText): One a row.
        RAISES (CorpusError): The split cannot be loaded, or a row cannot be read.
        """
        return self._explained(self._rows.texts())

    def _explained(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """Read on, with errors that name the source: a stream may break off."""
        if isinstance(self.dataset, JsonRows):
            yield from items
            return
        with explained(self.location):
            yield from items

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the corpus, from its beginning each time.

        nlp (Language): Whose vocabulary the Docs get, and whose tokenizer cuts texts.
        YIELDS (Example): A bare Doc with the gold tokens (and sentences), and the gold Doc.
        RAISES (CorpusError): The corpus cannot be read, or holds no tokens.
        """
        if not self.holds_texts:
            yield from super().__call__(nlp)
            return
        example = None
        for example in make_text_examples(
            self.texts(), nlp, alignment=self.alignment, limit=self.limit
        ):
            yield example
        if example is None:
            raise CorpusError(f"{self.source}: no text has tokens: is it the right split?")

    def scheme_evidence(self) -> Iterator[Sentence]:
        """Read all rows, or of a stream the first batch.

        YIELDS (Sentence): One a row.
        """
        return islice(self.sentences(), BATCH_SIZE if self.streaming else None)


@registry.readers("bigru_tagger.ConllCorpus.v1")
@dataclass
class ConllCorpus(SentenceReader):
    """Read column files: one token a line with its tags, a blank line behind each sentence.

    `-DOCSTART-` lines, `# newdoc`, `#begin document` and the end of a file end documents. A line
    that starts with `#` and has not the columns of a token is a comment in front of a sentence, and
    an error within one.

    path (str | Path): A file, a folder of column files, or a glob pattern.
    split (str | None): In a folder or of a pattern's files, read the file that is named after this
        split, such as "NER-de-train.tsv" or "eng.testa" (which is CoNLL-2003's validation split);
        None reads all files.
    columns (list[str] | None): What each column holds: tokens, ner, pos, chunk, document, or _ for
        nothing of these. None finds it out of what stands in them, see `data.layouts`.
    separator (str | None): What stands between columns; None for tabs where there are as many in
        each line, else for blanks and tabs.
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
        for file, layout in self.layouts.items():
            yield from read_file(file, layout, self.encoding)

    @property
    def marks_documents(self) -> bool:
        """RETURNS (bool): Whether there are several files, or lines that end documents."""
        return len({sentence.document for sentence in self.sentences()}) > 1

    @cached_property
    def files(self) -> list[Path]:
        """RETURNS (list[Path]): The files of the split, found once."""
        path = Path(self.path)
        found = find_files(path)
        if self.split is None:
            return found
        if path.is_file():
            check_split(str(path), self.split)
            return found
        if path.is_dir():
            return choose_files(path, column_files(path), self.split)
        folder = pattern_folder(path)
        by_split = files_by_split(folder, found)
        if by_split.get(canonical_split(self.split)) == found:
            return found  # the pattern has chosen already
        return choose_files(folder, found, self.split)

    @cached_property
    def layouts(self) -> dict[Path, Layout]:
        """RETURNS (dict[Path, Layout]): What the columns of each file hold, found once."""
        return {
            file: find_columns_of_file(
                file,
                columns=self.columns,
                separator=self.separator,
                encoding=self.encoding,
                labels_alone=self.scheme == LABELS_ALONE,
                needs_annotation=self.needs_annotation,
            )
            for file in self.files
        }

    def asks_for(self, layer: str) -> bool:
        """Whether the user named the column of a layer.

        layer (str): "ner", "pos" or "chunk".
        RETURNS (bool): False where the column was found by what is in it.
        """
        return layer in (self.columns or ())


def pattern_folder(pattern: Path) -> Path:
    """Find the folder in which a glob pattern looks for files.

    pattern (Path): The pattern: "data/*/x.conll".
    RETURNS (Path): The folder above its first placeholder: "data".
    """
    return next(parent for parent in pattern.parents if not has_magic(str(parent)))


def column_files(folder: Path) -> list[Path]:
    """List the column files of a folder, at any depth.

    folder (Path): The folder.
    RETURNS (list[Path]): Its files that end as column files do, sorted by name.
    """
    return sorted(
        file
        for file in folder.rglob("*")
        if content_suffix(file) in FILE_ENDINGS and not file.name.startswith(".") and file.is_file()
    )
