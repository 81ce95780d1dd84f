"""Predictions as columns: written for conlleval, and read again as those of any system."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc, Span
from spacy.training import Example

from ..corpus.conll import DOCUMENT_START, split_columns
from ..corpus.sentences import (
    CorpusError,
    Sentence,
    copy_tokens,
    detect_layer,
    sentence_iob2,
    sentence_starts,
)
from ..schemes import OUTSIDE, entity_spans, goes_on, is_tag, label_of
from ..tasks import ENTITIES, Task, list_tasks
from .columns import (
    PlacedEntity,
    UnalignedEntity,
    escape,
    place_unaligned,
    read_unaligned,
    split_tokens,
    token_column,
    unaligned_columns,
    unescape,
)
from .run import replacing
from .scoring import tag_example, type_of


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
    """The content of a file of predictions.

    path (Path): the file.
    tokens (tuple[PredictedToken, ...]): its tokens in order. An entity ends with its sentence.
    unaligned (tuple[UnalignedEntity, ...]): the entities that do not align with the gold tokens.
    """

    path: Path
    tokens: tuple[PredictedToken, ...]
    unaligned: tuple[UnalignedEntity, ...] = ()

    @property
    def written_labels(self) -> set[str]:
        """RETURNS (set[str]): the labels of its entities, as they are written."""
        aligned = {label_of(token.tag) for token in self.tokens if token.tag != OUTSIDE}
        return aligned | {entity.label for entity in self.unaligned}

    @property
    def labels(self) -> set[str]:
        """RETURNS (set[str]): the labels of its entities."""
        return set(map(unescape, self.written_labels))


def write_predictions(path: str | Path, examples: Iterable[Example], task: Task = ENTITIES) -> None:
    """Write the columns `token gold predicted` in IOB2, as conlleval reads them.

    Sentences, by the reference's sentence starts where it has them and else whole documents, are
    followed by a blank line. An entity, gold or predicted, that runs across a sentence start keeps
    its sentences together, so conlleval counts on the file what `evaluate` counts. Documents
    without gold annotation are left out.

    What a column cannot hold is written as `columns` has it. An entity that does not align with the
    gold tokens follows the tokens of its document.

    path (str | Path): the file, replaced only when all is written.
    examples (Iterable[Example]): predictions beside their references, `Evaluation.examples`.
    task (Task): which spans to write.
    RAISES (ValueError): see `tag_example`.
    RAISES (OSError): the file cannot be written.
    """
    with replacing(Path(path)) as file:
        for eg in examples:
            doc = tag_example(eg, task)
            if doc is None:
                continue
            starts = set(sentence_starts(eg.reference)[1:])
            words = [token_column(token.text) for token in eg.reference]
            if len(doc.words) > len(words):
                words += unaligned_columns(eg, task)
            for i, (word, gold, predicted) in enumerate(
                zip(words, doc.gold, doc.predicted, strict=True)
            ):
                if i in starts and not goes_on(gold) and not goes_on(predicted):
                    file.write("\n")
                file.write(f"{word} {escape(gold)} {escape(predicted)}\n")
            file.write("\n")


def read_predictions(path: str | Path) -> Predictions:
    """Read a file of predictions: a token a line, with its predicted tag in the last column.

    Columns are parted by blanks and tabs; those between the first and the last are not read.
    Sentences end at empty lines and at `-DOCSTART-`. A line that starts with `#` is a comment where
    it has not as many columns as the others, or no tag in the last. The scheme is told from the
    tags; what it forbids is read as conlleval reads it.

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
    tokens: list[PredictedToken] = []
    unaligned: list[UnalignedEntity] = []
    for sentence in sentences:
        tags = sentence_iob2(sentence, sentence.ner or (), scheme)
        for text, tag, line in zip(sentence.words, tags, sentence.lines, strict=True):
            entity = read_unaligned(text, tag, tokens[-1].line) if tokens else None
            if entity is None:
                tokens.append(PredictedToken(text, tag, line))
            else:
                unaligned.append(entity)
    return Predictions(path, tuple(tokens), tuple(unaligned))


def align_predictions(
    predictions: Predictions, references: Iterable[Doc], *, spans_key: str = "chunks"
) -> list[Example]:
    """Put the predictions of a file beside gold data.

    Both have to hold the same tokens in the same order; where sentences and documents end does not
    matter. Gold documents across whose ends an entity of the file runs are joined. Gold documents
    without annotation may be missing, as `write_predictions` leaves them out. A document with
    entities that do not align with the gold tokens is predicted on tokens that are split for them.

    The tags are read as entities, unless they share more labels with the gold chunks, or with the
    spans of another task. A label is read as `columns` has it, unless the gold data have it as it
    is written, and not as it is read.

    predictions (Predictions): the predictions.
    references (Iterable[Doc]): the gold data.
    spans_key (str): where chunks are, in `doc.spans`.
    RETURNS (list[Example]): new documents, annotated as predicted, beside their references.
    RAISES (CorpusError): tokens differ, or the file has too few of them, or too many; or an entity
        that does not align with the gold tokens is not part of their text.
    """
    references = list(references)
    task, labels = _choose_task(predictions, references, spans_key)
    tokens = _complete(_without_boundaries(predictions.tokens, references), references, task)
    _check_tokens(predictions.path, tokens, references)
    lines = [token.line for token in tokens]
    placed = place_unaligned(predictions.path, predictions.unaligned, lines, references)
    return [
        _annotate(reference, tags, entities, labels, task)
        for reference, tags, entities in _join_documents(
            references, [token.tag for token in tokens], placed
        )
    ]


def _read_sentences(path: Path) -> Iterator[Sentence]:
    lines = list(_read_lines(path))
    # A line that starts with "#" may be a comment, so its columns count only if all lines do.
    rows_of = [
        (number, split_columns(text))
        for number, text in lines
        if text.strip() and not text.startswith(DOCUMENT_START)
    ]
    plain = [(number, columns) for number, columns in rows_of if columns[0][0] != "#"]
    marked = [(number, columns) for number, columns in rows_of if _has_tag(columns)]
    first, columns = next(iter(plain or marked), (0, []))
    own = {columns[-1] for _, columns in plain or marked}
    width = len(columns)
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
        elif len(columns) == width and (
            not text.startswith("#") or columns[-1] in own or is_tag(columns[-1], bare=False)
        ):
            rows.append((columns[0], columns[-1], number))
        elif not text.startswith("#"):
            raise CorpusError(
                f"{path}:{number}: columns: {len(columns)}, where line {first} has {width}: mend "
                "the line, or leave an empty one where a sentence ends"
            )


def _has_tag(columns: Sequence[str]) -> bool:
    return len(columns) > 1 and is_tag(columns[-1])


def _sentence(path: Path, rows: Sequence[tuple[str, str, int]]) -> Sentence:
    words, tags, lines = zip(*rows, strict=True)
    return Sentence(source=str(path), words=words, ner=tags, lines=lines)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read lines with their numbers, from 1. A token may hold any line end but this one."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig")  # files that were joined have a mark in each
        except UnicodeError as error:
            raise CorpusError(
                f"{path}:{number}: {error}: predictions have to be text in UTF-8"
            ) from error
        if "\0" in text:
            raise CorpusError(f"{path}:{number}: a zero byte: predictions have to be text in UTF-8")
        yield number, text.removesuffix("\r")


def _choose_task(
    predictions: Predictions, references: Sequence[Doc], spans_key: str
) -> tuple[Task, dict[str, str]]:
    """Find which spans were predicted. RETURNS: the task; labels by how they are written."""
    gold = {
        task: {type_of(span) for doc in references for span in task.stored(doc)}
        for task in list_tasks(spans_key)
        if not task.per_token
    }
    labels = {
        task: {
            # Gold data that were read from such a file have its labels as they are written.
            label: label if label in known and unescape(label) not in known else unescape(label)
            for label in predictions.written_labels
        }
        for task, known in gold.items()
    }
    # Where they share as many, say none at all, what the gold data have.
    task = max(
        gold,
        key=lambda task: (
            len(gold[task] & set(labels[task].values())),
            any(map(task.is_annotated, references)),
        ),
    )
    return task, labels[task]


def _without_boundaries(
    tokens: Sequence[PredictedToken], references: Iterable[Doc]
) -> Sequence[PredictedToken]:
    if any(token.text.startswith(DOCUMENT_START) for doc in references for token in doc):
        return tokens
    return [token for token in tokens if not token.text.startswith(DOCUMENT_START)]


def _complete(
    tokens: Sequence[PredictedToken], references: Sequence[Doc], task: Task
) -> Sequence[PredictedToken]:
    """Add the tokens of documents that nobody annotated, if just these are missing."""
    annotated = list(map(task.is_annotated, references))
    lengths = [len(doc) for doc in references]
    n_annotated = sum(n for n, known in zip(lengths, annotated, strict=True) if known)
    if not n_annotated == len(tokens) < sum(lengths):
        return tokens
    given = iter(tokens)
    return [
        next(given) if known else PredictedToken(token_column(token.text), OUTSIDE, 0)
        for doc, known in zip(references, annotated, strict=True)
        for token in doc
    ]


def _check_tokens(path: Path, tokens: Sequence[PredictedToken], references: Sequence[Doc]) -> None:
    gold = [token_column(token.text) for doc in references for token in doc]
    for i, (expected, token) in enumerate(zip_longest(gold, tokens)):
        if token is not None and token_column(token.text) == expected:
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
    references: Iterable[Doc], tags: Sequence[str], unaligned: Iterable[PlacedEntity]
) -> Iterator[tuple[Doc, Sequence[str], list[PlacedEntity]]]:
    """Join documents until no entity runs across their end.

    YIELDS: each, its tags, and its entities that do not align.
    """
    group: list[Doc] = []
    entities: list[PlacedEntity] = []
    start = end = 0
    waiting = deque(unaligned)
    for doc in references:
        group.append(doc)
        end += len(doc)
        while waiting and waiting[0].first < end:
            entities.append(waiting.popleft())
        is_open = end < len(tags) and goes_on(tags[end])
        if not is_open and all(entity.last < end for entity in entities):
            own = [entity.moved(-start) for entity in entities]
            yield doc if len(group) == 1 else _join(group), tags[start:end], own
            group, entities, start = [], [], end


def _join(docs: Sequence[Doc]) -> Doc:
    # Extension values cannot always be joined, and nobody reads them here. spaCy's types lack the
    # argument.
    joined = Doc.from_docs(  # type: ignore[call-arg]
        list(docs), ensure_whitespace=False, exclude=["user_data"]
    )
    assert joined is not None
    return joined


def _annotate(
    reference: Doc,
    tags: Sequence[str],
    unaligned: Sequence[PlacedEntity],
    labels: dict[str, str],
    task: Task,
) -> Example:
    found = entity_spans(tags)
    if unaligned:
        doc, found = split_tokens(reference, found, unaligned)
    else:
        doc = copy_tokens(reference.vocab, reference, None)
    task.write(doc, [Span(doc, start, end, labels[label]) for label, start, end in found])
    return Example(doc, reference)
