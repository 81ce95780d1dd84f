"""Corpus readers for `[corpora]` blocks: datasets, column files, and whatever a path may name."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from spacy.language import Language
from spacy.training import Example
from spacy.util import registry

from .columns import BATCH_SIZE, Columns, find_columns, read_rows
from .hub import AnyDataset, DataFiles, DatasetSource, load_split
from .schemes import check_scheme
from .sentences import CorpusError, Sentence, TagSchemes, detect_layer, make_examples


@dataclass
class SentenceReader:
    """What all readers of annotated sentences share: from sentences to Examples.

    scheme (str | None): The scheme of the tags; None to tell it from the tags themselves.
    sentences_per_doc (int): Sentences a Doc, never across the end of a document; 0 for whole
        documents.
    spans_key (str): Where in `doc.spans` the chunks go.
    limit (int): At most so many Docs; 0 for all.
    """

    _: KW_ONLY
    scheme: str | None = None
    sentences_per_doc: int = 1
    spans_key: str = "chunks"
    limit: int = 0

    def __post_init__(self) -> None:
        if self.scheme is not None:
            self.scheme = check_scheme(self.scheme)
        for setting in ("sentences_per_doc", "limit"):
            if getattr(self, setting) < 0:
                raise ValueError(f"{setting} must be 0 or more, not {getattr(self, setting)}")

    @property
    def source(self) -> str:
        """RETURNS (str): The corpus by name, for messages."""
        raise NotImplementedError

    def sentences(self) -> Iterator[Sentence]:
        """Read the sentences as the source has them, from the first each time.

        YIELDS (Sentence): The sentences.
        RAISES (CorpusError): The corpus cannot be read.
        """
        raise NotImplementedError

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
        YIELDS (Example): A bare Doc with the gold tokens, and the gold Doc.
        RAISES (CorpusError): The corpus cannot be read, or holds no tokens.
        """
        empty = True
        for example in make_examples(
            self.sentences(),
            nlp.vocab,
            schemes=self.schemes,
            sentences_per_doc=self.sentences_per_doc,
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
        """RETURNS (str): Path and split, for messages."""
        return f"{self.path} [{self.split}]"

    @cached_property
    def dataset(self) -> AnyDataset:
        """RETURNS (AnyDataset): The rows, loaded once."""
        where = DatasetSource(
            self.path, self.name, self.revision, self.data_files, self.load_options
        )
        return load_split(where, self.split, streaming=self.streaming)

    @cached_property
    def columns(self) -> Columns:
        """RETURNS (Columns): The columns, found once."""
        columns = find_columns(
            self.dataset,
            self.source,
            {field: getattr(self, f"{field}_column") for field in Columns._fields},
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
