"""Read and write files of predictions in conlleval's column format."""

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
from ..files import replacing
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
from .scoring import counted_label, tag_example


class PredictedToken(NamedTuple):
    """A token of a file of predictions.

    text (str): the first column, as written in the file.
    tag (str): the last column, converted to IOB2.
    line (int): the line number, from 1.
    """

    text: str
    tag: str
    line: int


@dataclass(frozen=True)
class Predictions:
    """The content of a file of predictions.

    path (Path): the file.
    tokens (tuple[PredictedToken, ...]): the tokens in order. No entity crosses the end of a
        sentence of the file.
    unaligned (tuple[UnalignedEntity, ...]): the entities that do not align with the gold tokens.
    """

    path: Path
    tokens: tuple[PredictedToken, ...]
    unaligned: tuple[UnalignedEntity, ...] = ()

    @property
    def written_labels(self) -> set[str]:
        """RETURNS (set[str]): the labels of the entities, as written in the file."""
        aligned = {label_of(token.tag) for token in self.tokens if token.tag != OUTSIDE}
        return aligned | {entity.label for entity in self.unaligned}

    @property
    def labels(self) -> set[str]:
        """RETURNS (set[str]): the unescaped labels of the entities."""
        return set(map(unescape, self.written_labels))


def write_predictions(path: str | Path, examples: Iterable[Example], task: Task = ENTITIES) -> None:
    """Write the columns `token gold predicted` in IOB2, the input format of conlleval.

    A blank line follows each sentence, or each Doc if the reference has no sentence
    boundaries. There is no blank line within an entity, gold or predicted, so conlleval counts the
    same entities as `evaluate`. Docs without gold annotation are omitted.

    Tokens and labels are escaped, see `columns`. Entities that do not align with the gold tokens
    follow the tokens of their Doc.

    path (str | Path): the file, written atomically.
    examples (Iterable[Example]): predictions and references, such as `Evaluation.examples`.
    task (Task): the kind of annotation.
    RAISES (ValueError): see `tag_example`.
    RAISES (OSError): if the file cannot be written.
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
    """Read a file of predictions: one token per line, with its predicted tag in the last column.

    Columns are separated by spaces or tabs; those between the first and the last are ignored.
    Sentences end at empty lines and at `-DOCSTART-`. A line that starts with `#` is a comment if
    it has a different number of columns, or no tag in the last column. The tag scheme is detected.
    Invalid tag sequences follow conlleval's rules.

    path (str | Path): the file, in UTF-8.
    RETURNS (Predictions): the predictions. A `-DOCSTART-` line is kept as a token, because it is a
        token in some data sets.
    RAISES (CorpusError): if the file has no tokens, or a line or tag is invalid.
    RAISES (OSError): if the file cannot be read.
    """
    path = Path(path)
    sentences = list(_read_sentences(path))
    try:
        scheme = detect_layer(sentences, "ner")
    except CorpusError as error:
        raise CorpusError(f"{error}. The last column must be the predicted tag") from error
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
    """Align the predictions of a file with gold data.

    The file must contain the tokens of the gold data in the same order. Sentence and document
    boundaries can differ. If a predicted entity crosses the end of a gold Doc, this Doc
    and the next are joined. Gold Docs without annotation can be missing from the file, because
    `write_predictions` omits them. If entities do not align with the gold tokens, the predicted Doc
    has these tokens split.

    The predictions are entities, unless their labels have more in common with the gold chunks or
    the gold spans of another task. Labels are unescaped, see `columns`, unless the gold data
    contain the escaped label and not the unescaped one.

    predictions (Predictions): the predictions.
    references (Iterable[Doc]): the gold data.
    spans_key (str): the key of `doc.spans` for chunks.
    RETURNS (list[Example]): new Docs with the predictions, and their references.
    RAISES (CorpusError): if the tokens of the file and the gold data differ, or the gold data do
        not contain the text of an entity that does not align.
    """
    references = list(references)
    task, labels = _choose_task(predictions, references, spans_key)
    tokens = _complete(_without_boundaries(predictions.tokens, references), references, task)
    _check_tokens(predictions.path, tokens, references)
    lines = [token.line for token in tokens]
    placed = place_unaligned(predictions.path, predictions.unaligned, lines, references)
    return [
        _annotate(reference, tags, entities, labels, task)
        for reference, tags, entities in _join_docs(
            references, [token.tag for token in tokens], placed
        )
    ]


def _read_sentences(path: Path) -> Iterator[Sentence]:
    lines = list(_read_lines(path))
    # A line that starts with "#" may be a comment, so it sets the number of columns only if all
    # lines start with "#".
    rows_of = [
        (number, split_columns(text))
        for number, text in lines
        if text.strip() and not text.startswith(DOCUMENT_START)
    ]
    plain = [(number, columns) for number, columns in rows_of if columns[0][0] != "#"]
    marked = [(number, columns) for number, columns in rows_of if _has_tag(columns)]
    first, columns = next(iter(plain or marked), (0, []))
    known_tags = {columns[-1] for _, columns in plain or marked}
    width = len(columns)
    if not width:
        raise CorpusError(f"{path}: the file contains no tokens: check the path")
    if width == 1:
        raise CorpusError(
            f"{path}:{first}: only one column: a line must contain a token and, in the last "
            "column, the predicted tag, separated by spaces or tabs"
        )
    rows: list[tuple[str, str, int]] = []
    for number, text in [*lines, (len(lines) + 1, "")]:
        columns = split_columns(text)
        if text.startswith(DOCUMENT_START):
            # Kept, because it is a token in some data sets. If it is a boundary, its tag O ends
            # the entity before it.
            rows.append((columns[0], columns[-1] if is_tag(columns[-1]) else OUTSIDE, number))
        elif columns == [""]:
            if rows:
                yield _sentence(path, rows)
                rows = []
        elif len(columns) == width and (
            not text.startswith("#") or columns[-1] in known_tags or is_tag(columns[-1], bare=False)
        ):
            rows.append((columns[0], columns[-1], number))
        elif not text.startswith("#"):
            raise CorpusError(
                f"{path}:{number}: {len(columns)} columns, but line {first} has {width}: correct "
                "the line. Only empty lines can separate sentences"
            )


def _has_tag(columns: Sequence[str]) -> bool:
    return len(columns) > 1 and is_tag(columns[-1])


def _sentence(path: Path, rows: Sequence[tuple[str, str, int]]) -> Sentence:
    words, tags, lines = zip(*rows, strict=True)
    return Sentence(source=str(path), words=words, ner=tags, lines=lines)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Read lines with their numbers, from 1. Only "\n" ends a line."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig")  # concatenated files have several byte-order marks
        except UnicodeError as error:
            raise CorpusError(
                f"{path}:{number}: {error}: predictions must be text in UTF-8"
            ) from error
        if "\0" in text:
            raise CorpusError(f"{path}:{number}: a zero byte: predictions must be text in UTF-8")
        yield number, text.removesuffix("\r")


def _choose_task(
    predictions: Predictions, references: Sequence[Doc], spans_key: str
) -> tuple[Task, dict[str, str]]:
    """Find the task of the predictions. RETURNS: the task; labels by escaped label."""
    gold = {
        task: {counted_label(span) for doc in references for span in task.stored(doc)}
        for task in list_tasks(spans_key)
        if not task.per_token
    }
    labels = {
        task: {
            # Gold data that were read from a file of predictions contain escaped labels.
            label: label if label in known and unescape(label) not in known else unescape(label)
            for label in predictions.written_labels
        }
        for task, known in gold.items()
    }
    # If there is a tie, prefer a task that is annotated in the gold data.
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
    """Add the tokens of Docs without gold annotation, if only these are missing."""
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
            place = f"{path}:{tokens[-1].line}" if tokens else str(path)
            problem = (
                f"{place}: the file ends after {i} tokens. The gold data have {len(gold)} tokens, "
                f"and the next one is {expected!r}"
            )
        elif expected is None:
            problem = (
                f"{path}:{token.line}: extra token {token.text!r}. The gold data end before it, "
                f"after {i} tokens"
            )
        else:
            problem = (
                f"{path}:{token.line}: the token is {token.text!r}, but the token of the gold data "
                f"is {expected!r}"
            )
        raise CorpusError(
            f"{problem}. The file must contain all tokens of the gold data in the same order: "
            "check that both have the same split and tokenization"
        )


def _join_docs(
    references: Iterable[Doc], tags: Sequence[str], unaligned: Iterable[PlacedEntity]
) -> Iterator[tuple[Doc, Sequence[str], list[PlacedEntity]]]:
    """Join Docs until no entity crosses their end.

    YIELDS: a Doc, its tags, and its entities that do not align.
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
            moved = [entity.moved(-start) for entity in entities]
            yield doc if len(group) == 1 else _join(group), tags[start:end], moved
            group, entities, start = [], [], end


def _join(docs: Sequence[Doc]) -> Doc:
    # Extension values cannot always be joined and are not needed here. spaCy's type hints lack
    # `exclude`.
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
    spans = entity_spans(tags)
    if unaligned:
        doc, spans = split_tokens(reference, spans, unaligned)
    else:
        doc = copy_tokens(reference.vocab, reference, None)
    task.write(doc, [Span(doc, start, end, labels[label]) for label, start, end in spans])
    return Example(doc, reference)
