"""Tasks: what is read from a Doc, written to it and scored, each an entry of `TASKS`.

A task shows its annotation as labelled spans, whatever holds it: a tagged token is a span of one
token. All that evaluates, reports or converts annotation asks the task.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup


@dataclass(frozen=True)
class Task(ABC):
    """A kind of annotation.

    name (str): its key in JSON and its name in reports, in the plural, such as "entities".
    singular (str): its name in the singular.
    factory (str): the component that predicts it.
    purpose (str): what that component does, as "finds named entities".
    """

    name: str
    singular: str
    factory: str
    purpose: str

    per_token: ClassVar[bool] = False
    """Whether each annotated token has one label, so that nothing but the label can be wrong."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the annotation is, such as "doc.ents"."""

    @property
    def assigns(self) -> str:
        """What a component that writes it declares in spaCy's `assigns`."""
        return self.place

    @property
    def title(self) -> str:
        """Its name as a heading."""
        return self.name.capitalize()

    @property
    @abstractmethod
    def score_prefix(self) -> str:
        """What the names of its scores in spaCy begin with, such as "ents"."""

    @property
    def scores(self) -> dict[str, str]:
        """The scores of training by their names in spaCy, the most important first.

        The values are the field's names for them: "f1", "precision", "recall" or "accuracy".
        """
        names = {"acc": "accuracy"}
        if not self.per_token:
            names = {"f": "f1", "p": "precision", "r": "recall"}
        return {f"{self.score_prefix}_{end}": name for end, name in names.items()}

    @property
    def score_title(self) -> str:
        """The name of the most important score."""
        return f"{self.singular} {'accuracy' if self.per_token else 'F1'}"

    def with_key(self, spans_key: str | None) -> "Task":
        """Read another key of `doc.spans`.

        spans_key (str | None): the key; `None` for the task's own.
        RETURNS (Task): the task of that key, or this one if it does not read `doc.spans`.
        """
        return self

    @abstractmethod
    def is_annotated(self, doc: Doc) -> bool:
        """Whether a document has tokens, and the annotation is set at all."""

    @abstractmethod
    def stored(self, doc: Doc) -> Sequence[Span]:
        """List the annotation as the document has it.

        doc (Doc): the document.
        RETURNS (Sequence[Span]): the spans, which may overlap or be empty.
        """

    def unknown_tokens(self, doc: Doc) -> np.ndarray:
        """Find the tokens that lack annotation.

        doc (Doc): the document.
        RETURNS (ndarray): whether a token is one, bool (n_tokens,).
        """
        return np.zeros(len(doc), dtype=bool)

    def spans(self, doc: Doc) -> list[Span]:
        """List the annotation from left to right.

        doc (Doc): the document.
        RETURNS (list[Span]): the spans that have tokens.
        RAISES (ValueError): spans overlap.
        """
        spans = sorted((span for span in self.stored(doc) if len(span)), key=lambda s: s.start)
        for left, right in itertools.pairwise(spans):
            if right.start < left.end:
                raise ValueError(
                    f"{self.place} holds the overlapping spans {left.text!r} "
                    f"({left.label_}, tokens {left.start} to {left.end - 1}) and {right.text!r} "
                    f"({right.label_}, tokens {right.start} to {right.end - 1}), which IOB2 tags "
                    "cannot hold. Score them with spacy.spancat_scorer.v1."
                )
        return spans

    @abstractmethod
    def write(self, doc: Doc, spans: Sequence[Span]) -> None:
        """Replace the annotation of all tokens.

        doc (Doc): the document, changed in place.
        spans (Sequence[Span]): the new annotation.
        """

    def rename(self, doc: Doc, names: Mapping[str, str]) -> None:  # noqa: B027 - tags stay
        """Give spans other labels; those of tokens stay.

        doc (Doc): the document, changed in place.
        names (Mapping[str, str]): new names by label; spans with the name "" are removed.
        """

    def probabilities(
        self, doc: Doc, attributes: Iterable[str]
    ) -> dict[tuple[int, int, str], float]:
        """Read the probabilities of predicted spans.

        doc (Doc): the predicted document.
        attributes (Iterable[str]): extension attributes of a span that may hold a probability.
        RETURNS (dict[tuple[int, int, str], float]): the known ones, by first token, the token
            after the last, and label.
        """
        return {}


@dataclass(frozen=True)
class EntityTask(Task):
    """Entities in `doc.ents`, with their probabilities in an extension attribute."""

    @property
    def place(self) -> str:
        return "doc.ents"

    @property
    def score_prefix(self) -> str:
        return "ents"

    def is_annotated(self, doc: Doc) -> bool:
        return len(doc) > 0 and doc.has_annotation("ENT_IOB")

    def stored(self, doc: Doc) -> Sequence[Span]:
        return doc.ents

    def unknown_tokens(self, doc: Doc) -> np.ndarray:
        return np.asarray(doc.to_array("ENT_IOB") == 0)

    def write(self, doc: Doc, spans: Sequence[Span]) -> None:
        doc.set_ents(list(spans), default="outside")

    def rename(self, doc: Doc, names: Mapping[str, str]) -> None:
        if any(ent.label_ in names for ent in doc.ents):
            new = {ent: names.get(ent.label_, ent.label_) for ent in doc.ents}
            doc.set_ents(
                [_renamed(ent, name) for ent, name in new.items() if name],
                outside=[ent for ent, name in new.items() if not name],
                default="unmodified",
            )

    def probabilities(
        self, doc: Doc, attributes: Iterable[str]
    ) -> dict[tuple[int, int, str], float]:
        names = [name for name in attributes if Span.has_extension(name)]
        values = ((ent, [ent._.get(name) for name in names]) for ent in doc.ents)
        known = ((ent, [value for value in own if value is not None]) for ent, own in values)
        return {(e.start, e.end, e.label_): float(own[0]) for e, own in known if own}


@dataclass(frozen=True)
class SpanGroupTask(Task):
    """Spans that do not overlap in `doc.spans[key]`, with probabilities in `attrs["scores"]`."""

    key: str

    @property
    def place(self) -> str:
        return f"doc.spans[{self.key!r}]"

    @property
    def assigns(self) -> str:
        return "doc.spans"

    @property
    def title(self) -> str:
        return f"{super().title} in {self.place}"

    @property
    def score_prefix(self) -> str:
        return f"spans_{self.key}"

    def with_key(self, spans_key: str | None) -> Task:
        return self if spans_key is None else replace(self, key=spans_key)

    def is_annotated(self, doc: Doc) -> bool:
        return len(doc) > 0 and self.key in doc.spans

    def stored(self, doc: Doc) -> Sequence[Span]:
        return list(doc.spans.get(self.key, ()))

    def write(self, doc: Doc, spans: Sequence[Span]) -> None:
        doc.spans[self.key] = list(spans)

    def rename(self, doc: Doc, names: Mapping[str, str]) -> None:
        group = doc.spans.get(self.key, ())
        if not any(span.label_ in names for span in group):
            return
        new = [(span, names.get(span.label_, span.label_)) for span in group]
        attrs = dict(group.attrs)
        if self._scores(doc):
            scores = zip(attrs["scores"], new, strict=True)
            attrs["scores"] = [score for score, (_, name) in scores if name]
        spans = [_renamed(span, name) for span, name in new if name]
        doc.spans[self.key] = SpanGroup(doc, name=group.name, attrs=attrs, spans=spans)

    def probabilities(
        self, doc: Doc, attributes: Iterable[str]
    ) -> dict[tuple[int, int, str], float]:
        scored = zip(doc.spans.get(self.key, ()), self._scores(doc), strict=False)
        return {
            (span.start, span.end, span.label_): float(score)
            for span, score in scored
            if score is not None
        }

    def _scores(self, doc: Doc) -> Sequence[float | None]:
        # Without as many scores as spans, the group was changed, and no score can be assigned.
        if self.key not in doc.spans:
            return ()
        group = doc.spans[self.key]
        scores: Sequence[float | None] = group.attrs.get("scores", ())
        return scores if len(scores) == len(group) else ()


@dataclass(frozen=True)
class TokenTask(Task):
    """One label per token, in an attribute such as `token.tag`.

    attribute (str): its name in `spacy.attrs`, such as "TAG". Its value 0 is a missing label.
    """

    attribute: str

    per_token: ClassVar[bool] = True

    @property
    def place(self) -> str:
        return f"token.{self.score_prefix}"

    @property
    def score_prefix(self) -> str:
        return self.attribute.lower()

    def is_annotated(self, doc: Doc) -> bool:
        return len(doc) > 0 and doc.has_annotation(self.attribute)

    def stored(self, doc: Doc) -> Sequence[Span]:
        labels: list[int] = cast(Any, doc.to_array(self.attribute)).reshape(-1).tolist()
        return [Span(doc, i, i + 1, label) for i, label in enumerate(labels) if label]

    def unknown_tokens(self, doc: Doc) -> np.ndarray:
        return np.asarray(doc.to_array(self.attribute).reshape(-1) == 0)

    def write(self, doc: Doc, spans: Sequence[Span]) -> None:
        labels = np.zeros(len(doc), dtype=np.uint64)
        for span in spans:
            labels[span.start : span.end] = span.label
        doc.from_array([self.attribute], cast(Any, labels[:, None]))


ENTITIES = EntityTask("entities", "entity", "bigru_ner", "finds named entities")
CHUNKS = SpanGroupTask("chunks", "chunk", "bigru_chunker", "finds labelled spans", key="chunks")
TAGS = TokenTask("tags", "tag", "bigru_tagger", "tags tokens", attribute="TAG")

TASKS: dict[str, Task] = {task.name: task for task in (ENTITIES, CHUNKS, TAGS)}
"""All tasks by name, in the order of reports. A new task is one more entry."""


def list_tasks(spans_key: str = CHUNKS.key) -> list[Task]:
    """List all tasks.

    spans_key (str): where chunks are, in `doc.spans`.
    RETURNS (list[Task]): the entries of `TASKS`, chunks under that key.
    """
    return [
        task.with_key(spans_key) if task.name == CHUNKS.name else task for task in TASKS.values()
    ]


def annotated_tasks(doc: Doc) -> list[Task]:
    """List what is annotated in a document, with all keys of `doc.spans`.

    doc (Doc): the document.
    RETURNS (list[Task]): the entries of `TASKS`, and for each other key of `doc.spans` a task of
        that name; those of single tokens last.
    """
    tasks = list(TASKS.values())
    keys = {task.key for task in tasks if isinstance(task, SpanGroupTask)}
    tasks += [replace(CHUNKS, name=key, key=key) for key in doc.spans if key not in keys]
    tasks.sort(key=lambda task: task.per_token)
    return [task for task in tasks if task.is_annotated(doc)]


def _renamed(span: Span, label: str) -> Span:
    return Span(span.doc, span.start, span.end, label, kb_id=span.kb_id, span_id=span.id)
