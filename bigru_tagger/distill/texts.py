"""Readers of texts for a teacher, with or without annotation."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..corpus.conll import DOCUMENT_START
from ..corpus.corpus import SentenceReader, open_corpus
from ..corpus.sentences import CorpusError
from ..corpus.textfiles import content_suffix, read_lines
from ..schemes import is_tag

_LINES_TO_CHECK = 100  # to detect the format of a .txt file


def read_texts(
    source: str,
    nlp: Language,
    *,
    split: str | None,
    sentences_per_doc: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Doc]:
    """Read texts.

    source (str): the data, see `open_corpus`; annotation is optional. Or a `.txt` file of plain
        text, with one text per line.
    nlp (Language): the pipeline, for its vocabulary and the tokenizer of plain text.
    split (str | None): the split, see `open_corpus`.
    sentences_per_doc (int): sentences per Doc if the source consists of sentences; 0 for whole
        documents.
    options (Mapping[str, Any] | None): settings of the reader.
    YIELDS (Doc): the texts with at least one token, with their annotation.
    RAISES (CorpusError): if the source cannot be read or contains no text.
    """
    empty = True
    for doc in _read(source, nlp, split, sentences_per_doc, options or {}):
        if len(doc):
            empty = False
            yield doc
    if empty:
        raise CorpusError(f"{source}: the source contains no text: check the path and the split")


def _read(
    source: str,
    nlp: Language,
    split: str | None,
    sentences_per_doc: int,
    options: Mapping[str, Any],
) -> Iterable[Doc]:
    path = Path(source)
    if path.is_file() and content_suffix(path) == ".txt" and is_plain_text(path):
        lines = (line.strip() for _, line in read_lines(path))
        return map(nlp.make_doc, filter(None, lines))
    corpus = open_corpus(source, split=split, **options)
    if isinstance(corpus, SentenceReader):
        corpus.needs_annotation = False
        corpus.sentences_per_doc = sentences_per_doc
    return (example.reference for example in corpus(nlp))


def is_plain_text(path: Path) -> bool:
    """Check that a file is not in the column format, in which every line ends with a tag.

    path (Path): The file, which may be compressed (.gz, .bz2, .xz).
    RETURNS (bool): True if one of the first lines does not end with a tag.
    RAISES (CorpusError): The file cannot be read.
    """
    lines = (
        line
        for _, line in read_lines(path)
        if line.strip() and not line.startswith((DOCUMENT_START, "#"))
    )
    for line in islice(lines, _LINES_TO_CHECK):
        fields = line.split()
        if not (is_tag(fields[-1]) and len(fields) > 1):
            return True
    return False
