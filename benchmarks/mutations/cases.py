"""A mutated file, what is expected of its reader, and the comparison of both."""

import logging
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from bigru_tagger.corpus.corpus import open_corpus
from bigru_tagger.errors import InputError
from bigru_tagger.tasks import CHUNKS, ENTITIES, TAGS

Span = tuple[int, int, str]
Rng = random.Random


class Record(NamedTuple):
    """The annotation of a sentence or a text; a layer is None if it is not annotated.

    Spans are the first token, the token after the last, and the label.
    """

    words: Sequence[str]
    entities: Sequence[Span] | None = None
    chunks: Sequence[Span] | None = None
    tags: Sequence[str] | None = None


# Each has entities of one and of several tokens, or none, and words that are not in ASCII.
SENTENCES = (
    Record(
        ("Zoë", "Müller", "met", "Bob", "in", "Köln", "."),
        ((0, 2, "PER"), (3, 4, "PER"), (5, 6, "LOC")),
        ((0, 2, "NP"), (2, 3, "VP"), (3, 4, "NP"), (4, 5, "PP"), (5, 6, "NP")),
        ("NNP", "NNP", "VBD", "NNP", "IN", "NNP", "."),
    ),
    Record(("It", "rained", "."), (), ((0, 1, "NP"), (1, 2, "VP")), ("PRP", "VBD", ".")),
    Record(
        ("Ada", "left", "New", "York", "City", "and", "東京"),
        ((0, 1, "PER"), (2, 5, "LOC"), (6, 7, "LOC")),
        ((0, 1, "NP"), (1, 2, "VP"), (2, 5, "NP"), (6, 7, "NP")),
        ("NNP", "VBD", "NNP", "NNP", "NNP", "CC", "NNP"),
    ),
    Record(
        ("#", "1", "Acme", "Corp.", "fell"),
        ((2, 4, "ORG"),),
        ((0, 2, "NP"), (2, 4, "NP"), (4, 5, "VP")),
        ("SYM", "CD", "NNP", "NNP", "VBD"),
    ),
    Record(
        ("Plain", "words", "here", "stay", "unlabelled"),
        (),
        ((0, 2, "NP"), (2, 3, "ADVP"), (3, 4, "VP"), (4, 5, "ADJP")),
        ("JJ", "NNS", "RB", "VBP", "JJ"),
    ),
    Record(
        ("Eve", "Adam", "ran"),
        ((0, 1, "PER"), (1, 2, "PER")),
        ((0, 1, "NP"), (1, 2, "NP"), (2, 3, "VP")),
        ("NNP", "NNP", "VBD"),
    ),
)


@dataclass(frozen=True)
class Case:
    """A mutated file and the right outcome.

    kind (str): the mutation.
    name (str): the name of the file.
    content (bytes): its content.
    expected (list[Record] | None): the right data; None if they must not be read.
    place (str): a pattern that the message of an error or warning must contain.
    changed (range | None): the records that may differ from `expected`, if an error is right too;
        None if `expected` must be read exactly.
    warns (bool): whether a warning must name the place.
    options (dict[str, Any]): settings of the reader.
    """

    kind: str
    name: str
    content: bytes
    expected: list[Record] | None
    place: str = ""
    changed: range | None = None
    warns: bool = False
    options: dict[str, Any] = field(default_factory=dict)


class Warnings(logging.Handler):
    """Collect the messages of the package's loggers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.logger = logging.getLogger("bigru_tagger")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.messages.append(record.getMessage())

    def __enter__(self) -> "Warnings":
        self.logger.addHandler(self)
        self.before, self.logger.propagate = self.logger.propagate, False
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self)
        self.logger.propagate = self.before


def read_records(path: Path, nlp: Language, **options: Any) -> list[Record]:
    """Read a file by the reader for its format.

    path (Path): the file.
    nlp (Language): the pipeline, whose tokenizer is used for texts.
    options (Any): settings of the reader.
    RETURNS (list[Record]): one record per Doc.
    """
    return [record_of(example.reference) for example in open_corpus(str(path), **options)(nlp)]


def record_of(doc: Doc) -> Record:
    """Read the annotation of a gold Doc.

    doc (Doc): the Doc.
    RETURNS (Record): its annotation.
    """

    def spans(task: Any) -> tuple[Span, ...] | None:
        if not task.is_annotated(doc):
            return None
        return tuple((span.start, span.end, span.label_) for span in task.stored(doc))

    tags = tuple(token.tag_ for token in doc) if TAGS.is_annotated(doc) else None
    words = tuple(token.text for token in doc)
    return Record(words, spans(ENTITIES), spans(CHUNKS), tags)


def outcome(case: Case, folder: Path, nlp: Language) -> tuple[str, str]:
    """Read a mutated file and compare the outcome.

    case (Case): the file.
    folder (Path): where it is written.
    nlp (Language): the pipeline.
    RETURNS (tuple[str, str]): "data" or "error", and the problem; "" if the outcome is right.
    """
    path = folder / case.name
    path.write_bytes(case.content)
    with Warnings() as warnings:
        try:
            found = read_records(path, nlp, **case.options)
        except InputError as err:
            return "error", "" if _may_fail(case, str(err)) else f"error: {err}"
        except Exception as err:
            return "error", f"{type(err).__name__}: {err}"
        finally:
            path.unlink()
    if case.expected is None:
        return "data", "read without an error"
    if case.warns and not any(re.search(case.place, text) for text in warnings.messages):
        return "data", f"no warning: {warnings.messages}"
    return "data", _difference(found, case.expected, case.changed, warned=bool(warnings.messages))


def _may_fail(case: Case, message: str) -> bool:
    if case.expected is not None and case.changed is None:
        return False
    return bool(re.search(case.place, message))


def _difference(
    found: list[Record], expected: list[Record], changed: range | None, *, warned: bool
) -> str:
    if changed is None:
        pairs = zip(found, expected, strict=False)
        different = [(one, other) for one, other in pairs if one != other]
        if different:
            return f"{different[0][0]} instead of {different[0][1]}"
        return "" if len(found) == len(expected) else f"{len(found)} records"
    before, after = expected[: changed.start], expected[changed.stop :]
    if found[: len(before)] != before or found[len(found) - len(after) :] != after:
        return f"other records changed: {found}"
    between = found[len(before) : len(found) - len(after)]
    layers = [[layer is None for layer in record] for record in (*between, *expected)]
    return (
        "" if warned or all(one == layers[-1] for one in layers) else f"a layer is lost: {between}"
    )


def pick(rng: Rng, n: int = 4) -> list[Record]:
    """Choose sentences in random order, among them one of each layer and kind.

    rng (Rng): the source of randomness.
    n (int): the number of sentences.
    RETURNS (list[Record]): the sentences.
    """
    chosen = [SENTENCES[0], SENTENCES[1], *rng.choices(SENTENCES, k=n - 2)]
    rng.shuffle(chosen)
    return chosen


def flip(rng: Rng, content: bytes, start: int, end: int) -> bytes:
    """Change one random bit in a range of bytes."""
    position = rng.randrange(start, end)
    changed = content[position] ^ (1 << rng.randrange(8))
    return content[:position] + bytes([changed]) + content[position + 1 :]


def either(first: int, n: int = 1) -> range:
    """Make the range of records that a mutation may change."""
    return range(first, first + n)


Cases = Iterator[Case]
