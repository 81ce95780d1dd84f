"""Corpus readers for `[corpora]` blocks: their base class, and rows of datasets and JSON files."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from spacy.language import Language
from spacy.training import Example
from spacy.util import registry

from ..errors import ConfigError
from ..schemes import TagError, check_scheme
from .annotated import AnnotatedLabels, gold_labels
from .augment import augment
from .columns import COLUMN_FIELDS, Columns, find_columns
from .hub import load_errors, load_split
from .json_rows import JsonRows
from .layouts import are_mostly_tags
from .offsets import Alignment, AnnotatedText, check_alignment, make_text_examples
from .rows import BATCH_SIZE, RowReader
from .sentences import CorpusError, Sentence, TagSchemes, detect_layer, make_examples
from .sources import DataFiles, DatasetSource

if TYPE_CHECKING:
    from .columns import AnyRows

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")


@dataclass
class SentenceReader(ABC):
    """Base class of the readers of annotated sentences.

    scheme (str | None): The tag scheme; None to detect it from the tags. "io" reads labels without
        prefixes.
    sentences_per_doc (int): The maximum number of sentences per Doc; 0 for whole documents. A Doc
        never crosses a document boundary.
    given_sentences (bool): Whether Docs of several sentences have the gold sentence starts when the
        pipeline processes them. Set to False if a component of the pipeline predicts them.
    spans_key (str): The key of the chunks in `doc.spans`.
    limit (int): The maximum number of Docs; 0 for no limit.
    annotated_labels (AnnotatedLabels | None): The only labels that are annotated, if there are
        others: a list for entities, or a list for each of the layers "ner", "pos" and "chunk". O
        then means "no entity with one of these labels". None if all labels are annotated.
    rename (dict[str, str] | None): New names of the labels of entities and chunks, all given at
        once. The new name "" removes them. `annotated_labels` must use the new names.
    augmenter (Callable[..., Any] | None): A function of spaCy's registry `augmenters` that changes
        Examples, such as `bigru_tagger.CaseAugmenter.v1`; None for no change.

    `needs_annotation` cannot be set in a config. If it is False, data without annotation are
    read.
    """

    _: KW_ONLY
    scheme: str | None = None
    sentences_per_doc: int = 1
    given_sentences: bool = True
    spans_key: str = "chunks"
    limit: int = 0
    annotated_labels: AnnotatedLabels | None = None
    rename: dict[str, str] | None = None
    augmenter: Callable[..., Any] | None = None
    needs_annotation: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if self.scheme is not None:
            self.scheme = check_scheme(self.scheme)
        for setting in ("sentences_per_doc", "limit"):
            if getattr(self, setting) < 0:
                raise ConfigError(f"{setting} must be 0 or more, not {getattr(self, setting)}")
        self._labels = gold_labels(self.annotated_labels, self.rename, self.spans_key)

    @property
    @abstractmethod
    def source(self) -> str:
        """RETURNS (str): The name of the corpus, for messages."""

    @abstractmethod
    def sentences(self) -> Iterator[Sentence]:
        """Read the sentences of the source. Each call starts at the first sentence.

        YIELDS (Sentence): The sentences.
        RAISES (CorpusError): The corpus cannot be read.
        """

    @property
    @abstractmethod
    def marks_documents(self) -> bool:
        """RETURNS (bool): Whether the source marks document boundaries."""

    def scheme_evidence(self) -> Iterator[Sentence]:
        """Read the sentences from which the tag scheme is detected.

        YIELDS (Sentence): All sentences, unless a full pass is expensive.
        """
        return self.sentences()

    @property
    def holds_texts(self) -> bool:
        """RETURNS (bool): Whether the source has texts with offsets instead of tokens."""
        return False

    @abstractmethod
    def is_explicit(self, layer: str) -> bool:
        """Check whether the user named the column of a layer.

        layer (str): "ner", "pos" or "chunk".
        RETURNS (bool): False if the column was found by its name or content.
        """

    @cached_property
    def schemes(self) -> TagSchemes:
        """RETURNS (TagSchemes): The tag schemes, detected on first access.

        A scheme that is set applies to chunks, too. It is checked that they are tags unless their
        column was named, since "io" takes any text as a label.
        """
        if self.scheme and self.is_explicit("chunk"):
            return TagSchemes(self.scheme, self.scheme)
        try:
            chunks = detect_layer(self.scheme_evidence(), "chunks")
        except CorpusError as err:
            if self.is_explicit("chunk") or not isinstance(err.__cause__, TagError):
                raise
            found = (sentence.chunks or () for sentence in self.scheme_evidence())
            if are_mostly_tags([tag for tags in found for tag in tags]):
                raise
            logger.warning(
                "%s. The chunk column is ignored. If it holds chunks, name it in the settings",
                err,
            )
            chunks = ""
        return TagSchemes(
            ner=self.scheme or detect_layer(self.scheme_evidence(), "ner"),
            chunks=(self.scheme or chunks) if chunks else "",
        )

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the corpus. Each call starts at the beginning.

        nlp (Language): The pipeline whose vocabulary the Docs share, and whose tokenizer is used
            for texts.
        YIELDS (Example): A Doc with the gold tokens, and with gold sentence starts if
            `given_sentences` is set, as `predicted`; the gold Doc as `reference`.
        RAISES (CorpusError): The corpus cannot be read, or has no tokens.
        """
        yield from augment(self.unchanged(nlp), nlp, self.augmenter)

    def unchanged(self, nlp: Language) -> Iterator[Example]:
        """Read the corpus without the augmenter, see `__call__`."""
        example = None
        examples = self._examples(nlp)
        for example in self._labels.apply(examples, self.source, whole=self.limit == 0):
            yield example
        if example is None:
            unit = "text" if self.holds_texts else "sentence"
            raise CorpusError(f"{self.source}: no {unit} has tokens: check the path and split")

    def _examples(self, nlp: Language) -> Iterator[Example]:
        """Read the corpus without the augmenter, and with the labels of the source."""
        return make_examples(
            self.sentences(),
            nlp.vocab,
            schemes=self.schemes,
            sentences_per_doc=self.sentences_per_doc,
            given_sentences=self.given_sentences,
            spans_key=self.spans_key,
            limit=self.limit,
        )


@registry.readers("bigru_tagger.HFCorpus.v1")
@dataclass
class HFCorpus(SentenceReader):
    """Read a split of a dataset with Hugging Face `datasets`, or the rows of JSON files.

    A row holds the tokens of a sentence and their tags, or a text with entities by character
    offsets in one of the formats of `bigru_tagger.corpus.offsets`. A text becomes one Doc and is
    tokenized by the pipeline. In a table with one token per row, a column such as `sentence_id` or
    `Sentence #` numbers the sentences.

    path (str): A hub id, a folder of parquet, JSON or arrow files, a folder written by
        `save_to_disk`, the name of a builder (json, parquet, csv, conll) with `data_files`, or
        `bigru_tagger/sample`, the sample corpus in this package. The id `conll2003` is read from
        the hub's parquet copy.
    name (str | None): The configuration of a dataset that has several.
    split (str): The split, or a slice of one ("train[:10%]"). A saved single Dataset is read if it
        was saved as this split or without a split.
    revision (str | None): The hub revision.
    data_files (DataFiles | None): The files for a builder, or a selection of a dataset's files.
    load_options (dict[str, Any] | None): Further arguments of `datasets.load_dataset`, such as
        settings of a builder (`column_names` of conll, `field` of json).
    encoding (str): The encoding of CSV files. Other files are not read by it.
    separator (str | None): The separator of CSV files; None for a comma.
    streaming (bool): Read while iterating, without a copy on disk.
    tokens_column (str | None): The column of tokens. For this and the next six settings, None
        looks for the usual names and "" ignores the column. Invalid part-of-speech and chunk tags
        are left out with a warning, unless their column is named here.
    ner_column (str | None): The column of entity tags.
    pos_column (str | None): The column of part-of-speech tags.
    chunk_column (str | None): The column of chunk tags.
    document_column (str | None): The column that identifies the document of a sentence.
    text_column (str | None): The column of texts with entities by character offsets.
    entities_column (str | None): The column of these entities.
    weight_column (str | None): The column of the weights of rows in the training loss, which are
        numbers of at least 0; None for none.
    tag_names (dict[str, list[str]] | None): For each column that holds tag numbers without names,
        the tags in order.
    alignment (Alignment): How to treat entities of a text that start or end within a token:
        "strict" raises an error that lists them, "expand" extends them to all tokens that they
        overlap, "contract" shrinks them to the tokens that they cover completely. The last two
        list them in a warning.
    """

    path: str
    _: KW_ONLY
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: DataFiles | None = None
    load_options: dict[str, Any] | None = None
    encoding: str = "utf-8"
    separator: str | None = None
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alignment(self.alignment)

    @property
    def source(self) -> str:
        """RETURNS (str): The dataset and its split, for messages."""
        return f"{self.location.label} [{self.split}]"

    @property
    def location(self) -> DatasetSource:
        """RETURNS (DatasetSource): The arguments for `datasets.load_dataset`."""
        return DatasetSource(*(getattr(self, field) for field in DatasetSource._fields))

    @cached_property
    def dataset(self) -> "AnyRows":
        """RETURNS (AnyRows): The rows, loaded on first access."""
        return load_split(self.location, self.split, streaming=self.streaming)

    @cached_property
    def columns(self) -> Columns:
        """RETURNS (Columns): The columns, found on first access."""
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
        """RETURNS (bool): Whether there is a document column, or each row is a text."""
        return self.holds_texts or self.columns.document is not None

    @property
    def holds_texts(self) -> bool:
        """RETURNS (bool): Whether rows are texts with offsets instead of tokens."""
        return self.columns.text is not None

    def is_explicit(self, layer: str) -> bool:
        """Check whether the user named the column of a layer.

        layer (str): "ner", "pos" or "chunk".
        RETURNS (bool): False if the column was found by its name.
        """
        return layer in self.columns.explicit

    def sentences(self) -> Iterator[Sentence]:
        """Read the rows as sentences. Each call starts at the first row.

        YIELDS (Sentence): One per row.
        RAISES (CorpusError): The split cannot be loaded, a row cannot be read, or rows are texts.
        """
        if self.holds_texts:
            raise CorpusError(
                f"{self.source}: the rows are texts with offsets, not tokens with tags"
            )
        if self.sentences_per_doc == 0 and not self.marks_documents:
            raise CorpusError(
                f"{self.source}: sentences_per_doc = 0 requires document boundaries: set "
                "document_column, or set sentences_per_doc to 1 or more"
            )
        return self._with_load_errors(self._rows.sentences())

    def texts(self) -> Iterator[AnnotatedText]:
        """Read the rows as texts with offsets. Each call starts at the first row.

        YIELDS (AnnotatedText): One per row.
        RAISES (CorpusError): The split cannot be loaded, or a row cannot be read.
        """
        return self._with_load_errors(self._rows.texts())

    def _with_load_errors(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """Iterate with errors that name the source, since a stream may fail while it is read."""
        if isinstance(self.dataset, JsonRows):
            yield from items
            return
        with load_errors(self.location):
            yield from items

    def _examples(self, nlp: Language) -> Iterator[Example]:
        if not self.holds_texts:
            return super()._examples(nlp)
        return make_text_examples(self.texts(), nlp, alignment=self.alignment, limit=self.limit)

    def scheme_evidence(self) -> Iterator[Sentence]:
        """Read the rows from which the tag scheme is detected.

        YIELDS (Sentence): All rows; the first 1000 of a stream.
        """
        return islice(self.sentences(), BATCH_SIZE if self.streaming else None)
