"""Texts for a teacher: whatever the corpus readers read, with or without annotation, and prose."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..corpus.conll import DOCUMENT_START
from ..corpus.corpus import SentenceReader, open_corpus
from ..corpus.sentences import CorpusError
from ..schemes import is_tag

_LINES_TO_TELL = 100


def read_texts(
    source: str,
    nlp: Language,
    *,
    split: str | None,
    sentences_per_doc: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Doc]:
    """Read texts, from their beginning each time.

    source (str): what `open_corpus` takes, where annotation may be missing; or a `.txt` file of
        prose, one text a line.
    nlp (Language): whose vocabulary the Docs get; prose is cut by its tokenizer.
    split (str | None): the split, of a source that has several; `None` as for `open_corpus`.
    sentences_per_doc (int): sentences a Doc, where the source is one of sentences; 0 for whole
        documents.
    options (Mapping[str, Any] | None): settings of the reader.
    YIELDS (Doc): texts that have tokens, with the annotation that there is.
    RAISES (CorpusError): the source cannot be read, or holds no text.
    """
    empty = True
    for doc in _read(source, nlp, split, sentences_per_doc, options or {}):
        if len(doc):
            empty = False
            yield doc
    if empty:
        raise CorpusError(f"{source}: no text in it: is it the right file and split?")


def _read(
    source: str,
    nlp: Language,
    split: str | None,
    sentences_per_doc: int,
    options: Mapping[str, Any],
) -> Iterable[Doc]:
    path = Path(source)
    if path.is_file() and path.suffix == ".txt" and _is_prose(path):
        return map(nlp.make_doc, filter(None, _lines(path)))
    try:
        corpus = open_corpus(source, split=split, **options)
    except TypeError as error:  # a setting that the reader does not have
        raise CorpusError(str(error)) from error
    if isinstance(corpus, SentenceReader):
        corpus.needs_annotation = False
        corpus.sentences_per_doc = sentences_per_doc
    return (example.reference for example in corpus(nlp))


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from (line.strip() for line in file)
    except UnicodeError as error:
        raise CorpusError(f"{path}: {error}: a text has to be in UTF-8") from error


def _is_prose(path: Path) -> bool:
    """Tell prose from columns, which have a tag at the end of each line."""
    lines = (line for line in _lines(path) if line and not line.startswith((DOCUMENT_START, "#")))
    for line in islice(lines, _LINES_TO_TELL):
        fields = line.split()
        if not (is_tag(fields[-1]) and len(fields) > 1):
            return True
    return False
