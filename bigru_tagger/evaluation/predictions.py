"""Predictions as columns: written for conlleval, and read again as those of any system."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc, Span
from spacy.training import Example

from ..data.conll import DOCUMENT_START, split_columns
from ..data.schemes import OUTSIDE, entity_spans, is_tag
from ..data.sentences import (
    CorpusError,
    Sentence,
    copy_tokens,
    detect_layer,
    sentence_iob2,
    sentence_starts,
)
from .run import replacing
from .scoring import is_annotated, tag_example

_WHITE_SPACE = "␣"  # what stands for it within a column


class PredictedToken(NamedTuple):
    """A line of a file of predictions.

    text (str): the token as it is written there, the first column.
    tag (str): the last column, in IOB2.
    line (int): its number, from 1.
    """

    text: str
    tag: str
    line: int


@dataclass(frozen=True)
class Predictions:
    """What a file of predictions says.

    path (Path): the file.
    tokens (tuple[PredictedToken, ...]): its tokens in order. An entity ends with its sentence.
    """

    path: Path
    tokens: tuple[PredictedToken, ...]


def write_predictions(
    path: str | Path, examples: Iterable[Example], *, spans_key: str | None = None
) -> None:
    """Write the columns `token gold predicted` in IOB2, as conlleval reads them.

    Sentences, by the reference's sentence starts where it has them and else whole documents, are
    followed by a blank line. An entity, gold or predicted, that runs across a sentence start keeps
    its sentences together, so conlleval counts on the file what `evaluate` counts. Documents
    without gold annotation are left out. White space within a column is written as "␣".

    path (str | Path): the file, replaced only when all is written.
    examples (Iterable[Example]): predictions beside their references, `Evaluation.examples`.
    spans_key (str | None): write `doc.spans[spans_key]`; `None` writes `doc.ents`.
    RAISES (ValueError): see `tag_example`.
    RAISES (OSError): the file cannot be written.
    """
    with replacing(Path(path)) as file:
        for eg in examples:
            doc = tag_example(eg, spans_key=spans_key)
            if doc is None:
                continue
            starts = set(sentence_starts(eg.reference)[1:])
            for i, (word, gold, predicted) in enumerate(zip(*doc, strict=True)):
                if i in starts and not gold.startswith("I-") and not predicted.startswith("I-"):
                    file.write("\n")
                file.write(f"{_column(word)} {_column(gold)} {_column(predicted)}\n")
            file.write("\n")


def read_predictions(path: str | Path) -> Predictions:
    """Read a file of predictions: a token a line, with its predicted tag in the last column.

    Columns are parted by blanks and tabs; those between the first and the last are not read.
    Sentences end at empty lines and at `-DOCSTART-`. A line that starts with `#` is a comment where
    it has not as many columns as the others. The scheme is told from the tags; what it forbids is
    read as conlleval reads it.

    path (str | Path): the file, in UTF-8.
    RETURNS (Predictions): all of it. A `-DOCSTART-` is a token, too: there are data where it is.
    RAISES (CorpusError): there are no tokens, or a line or a tag is none.
    RAISES (OSError): the file cannot be read.
    """
    path = Path(path)
    sentences = list(_read_sentences(path))
    try:
        scheme = detect_layer(sentences, "ner")
    except CorpusError as error:
        raise CorpusError(f"{error}. The last column has to be the predicted tag") from error
    tokens = [
        PredictedToken(text, tag, line)
        for sentence in sentences
        for text, tag, line in zip(
            sentence.words,
            sentence_iob2(sentence, sentence.ner or (), scheme),
            sentence.lines,
            strict=True,
        )
    ]
    return Predictions(path, tuple(tokens))


def align_predictions(
    predictions: Predictions, references: Iterable[Doc], *, spans_key: str = "chunks"
) -> list[Example]:
    """Put the predictions of a file beside gold data.

    Both have to hold the same tokens in the same order; where sentences and documents end does not
    matter. Gold documents across whose ends an entity of the file runs are joined. Gold documents
    without annotation may be missing, as `write_predictions` leaves them out. Entities that it
    wrote behind a document, since they do not align with the gold tokens, cannot be read again.

    The tags are read as entities, unless they share more labels with the gold chunks.

    predictions (Predictions): the predictions.
    references (Iterable[Doc]): the gold data.
    spans_key (str): where chunks are, in `doc.spans`.
    RETURNS (list[Example]): new documents, annotated as predicted, beside their references.
    RAISES (CorpusError): tokens differ, or the file has too few of them, or too many.
    """
    references = list(references)
    key, labels = _choose_layer(predictions, references, spans_key)
    tokens = _complete(_without_boundaries(predictions.tokens, references), references, key)
    _check_tokens(predictions.path, tokens, references)
    return [
        _annotate(reference, tags, labels, key)
        for reference, tags in _join_documents(references, [token.tag for token in tokens])
    ]


def _read_sentences(path: Path) -> Iterator[Sentence]:
    lines = list(_read_lines(path))
    # A line that starts with "#" may be a comment: another one tells for certain.
    first, width = next(
        (
            (number, len(split_columns(text)))
            for number, text in lines
            if text.strip() and not text.startswith((DOCUMENT_START, "#"))
        ),
        (0, 0),
    )
    if not width:
        raise CorpusError(f"{path}: there is no token in it: is it the right file?")
    if width == 1:
        raise CorpusError(
            f"{path}:{first}: one column: a line has to hold a token and, in its last column, the "
            "predicted tag, with blanks or tabs between them"
        )
    rows: list[tuple[str, str, int]] = []
    for number, text in [*lines, (len(lines) + 1, "")]:
        columns = split_columns(text)
        if text.startswith(DOCUMENT_START):
            # A token in some data. As a boundary it is outside of entities, and so ends them.
            rows.append((columns[0], columns[-1] if is_tag(columns[-1]) else OUTSIDE, number))
        elif columns == [""]:
            if rows:
                yield _sentence(path, rows)
                rows = []
        elif len(columns) == width:
            rows.append((columns[0], columns[-1], number))
        elif not text.startswith("#"):
            raise CorpusError(
                f"{path}:{number}: columns: {len(columns)}, where line {first} has {width}: mend "
                "the line, or leave an empty one where a sentence ends"
            )


def _sentence(path: Path, rows: Sequence[tuple[str, str, int]]) -> Sentence:
    words, tags, lines = zip(*rows, strict=True)
    return Sentence(source=str(path), words=words, ner=tags, lines=lines)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read lines with their numbers, from 1. A token may hold any line end but this one."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeError as error:
            raise CorpusError(
                f"{path}:{number}: {error}: predictions have to be text in UTF-8"
            ) from error
        if "\0" in text:
            raise CorpusError(f"{path}:{number}: a zero byte: predictions have to be text in UTF-8")
        yield number, text.removesuffix("\r")


def _choose_layer(
    predictions: Predictions, references: Sequence[Doc], spans_key: str
) -> tuple[str | None, dict[str, str]]:
    """Tell entities from chunks. RETURNS: the spans key or None; gold labels as in a file."""
    gold: dict[str | None, dict[str, str]] = {
        key: {_column(span.label_): span.label_ for doc in references for span in _spans(doc, key)}
        for key in (None, spans_key)
    }
    found = {token.tag[2:] for token in predictions.tokens}
    # Where they share as many, say none at all, what the gold data have.
    key = max(gold, key=lambda key: (len(found & gold[key].keys()), bool(gold[key])))
    return key, gold[key]


def _spans(doc: Doc, key: str | None) -> Iterable[Span]:
    return doc.ents if key is None else doc.spans.get(key, ())


def _without_boundaries(
    tokens: Sequence[PredictedToken], references: Iterable[Doc]
) -> Sequence[PredictedToken]:
    if any(token.text.startswith(DOCUMENT_START) for doc in references for token in doc):
        return tokens
    return [token for token in tokens if not token.text.startswith(DOCUMENT_START)]


def _complete(
    tokens: Sequence[PredictedToken], references: Sequence[Doc], key: str | None
) -> Sequence[PredictedToken]:
    """Add the tokens of documents that nobody annotated, if just these are missing."""
    annotated = [is_annotated(doc, key) for doc in references]
    lengths = [len(doc) for doc in references]
    n_annotated = sum(n for n, known in zip(lengths, annotated, strict=True) if known)
    if not n_annotated == len(tokens) < sum(lengths):
        return tokens
    given = iter(tokens)
    return [
        next(given) if known else PredictedToken(_column(token.text), OUTSIDE, 0)
        for doc, known in zip(references, annotated, strict=True)
        for token in doc
    ]


def _check_tokens(path: Path, tokens: Sequence[PredictedToken], references: Sequence[Doc]) -> None:
    gold = [_column(token.text) for doc in references for token in doc]
    for i, (expected, token) in enumerate(zip_longest(gold, tokens)):
        if token is not None and _column(token.text) == expected:
            continue
        if token is None:
            problem = (
                f"{path}: it ends at line {tokens[-1].line}, after {i} tokens. The gold data have "
                f"{len(gold)}, of which {expected!r} is next"
            )
        elif expected is None:
            problem = (
                f"{path}:{token.line}: the token {token.text!r} is too much. The gold data end "
                f"before it, after {i} tokens"
            )
        else:
            problem = (
                f"{path}:{token.line}: the token is {token.text!r}, but the gold data have "
                f"{expected!r} there"
            )
        raise CorpusError(
            f"{problem}. The file has to hold the tokens of the gold data, all of them and in "
            "their order: check that both are of the same split, and tokenized alike"
        )


def _join_documents(
    references: Iterable[Doc], tags: Sequence[str]
) -> Iterator[tuple[Doc, Sequence[str]]]:
    """Join documents until no entity runs across their end. YIELDS: each, and its tags."""
    group: list[Doc] = []
    start = end = 0
    for doc in references:
        group.append(doc)
        end += len(doc)
        if end == len(tags) or not tags[end].startswith("I-"):
            yield doc if len(group) == 1 else _join(group), tags[start:end]
            group, start = [], end


def _join(docs: Sequence[Doc]) -> Doc:
    # Extension values cannot always be joined, and nobody reads them here. spaCy's types lack the
    # argument.
    joined = Doc.from_docs(  # type: ignore[call-arg]
        list(docs), ensure_whitespace=False, exclude=["user_data"]
    )
    assert joined is not None
    return joined


def _annotate(
    reference: Doc, tags: Sequence[str], labels: dict[str, str], key: str | None
) -> Example:
    doc = copy_tokens(reference.vocab, reference, None)
    spans = [
        Span(doc, start, end, labels.get(label, label.replace(_WHITE_SPACE, " ")))
        for label, start, end in entity_spans(tags)
    ]
    if key is None:
        doc.set_ents(spans, default="outside")
    else:
        doc.spans[key] = spans
    return Example(doc, reference)


def _column(text: str) -> str:
    text = "".join(_WHITE_SPACE if char.isspace() else char for char in text)
    # conlleval takes this token, and its tags, for a sentence boundary.
    return f"{text}{_WHITE_SPACE}" if text == "-X-" else text
