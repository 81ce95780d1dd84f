"""Tasks: kinds of annotation that are read from a Doc, written to it and scored.

A task represents its annotation as labelled spans. A tag is a span of one token. Evaluation,
reports and conversion use this interface, so a new task is one more entry of `TASKS`.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup

from .errors import DataError

LABELS_MARK = "bigru_tagger.annotated_labels: "
"""The start of the keys in `doc.user_data` that mark partial annotation."""


@dataclass(frozen=True)
class Task(ABC):
    """A kind of annotation.

    name (str): the name in reports and the key in JSON, in the plural, such as "entities".
    singular (str): the name in the singular.
    factory (str): the factory of the component that predicts the annotation.
    purpose (str): what that component does, such as "finds named entities".
    """

    name: str
    singular: str
    factory: str
    purpose: str

    per_token: ClassVar[bool] = False
    """Whether labels belong to single tokens, not to spans."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The attribute with the annotation, such as "doc.ents"."""

    @property
    def assigns(self) -> str:
        """The attribute in the `assigns` of components that write the annotation."""
        return self.place

    @property
    def title(self) -> str:
        """The name as a heading."""
        return self.name.capitalize()

    @property
    @abstractmethod
    def score_prefix(self) -> str:
        """The prefix of the names of scores in spaCy, such as "ents"."""

    @property
    def scores(self) -> dict[str, str]:
        """The metrics by their names in spaCy, the most important first.

        Metrics are "f1", "precision" and "recall", or "accuracy".
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
        """Return the task for another key of `doc.spans`.

        spans_key (str | None): the key, None for the task's key.
        RETURNS (Task): the task for the key, or this task if it does not use `doc.spans`.
        """
        return self

    @abstractmethod
    def is_annotated(self, doc: Doc) -> bool:
        """Check whether a Doc has tokens and the annotation is set, even if it is empty."""

    @abstractmethod
    def stored(self, doc: Doc) -> Sequence[Span]:
        """List the spans as they are stored.

        doc (Doc): the Doc.
        RETURNS (Sequence[Span]): the spans, which can overlap or be empty.
        """

    @property
    def _labels_key(self) -> str:
        return f"{LABELS_MARK}{self.place}"

    def set_annotated_labels(self, doc: Doc, labels: Iterable[str]) -> None:
        """Mark a gold Doc as partially annotated: only spans with some labels are annotated.

        Spans with other labels are unknown, unless they are annotated too. The mark is stored in
        `doc.user_data`, so a `DocBin` keeps it only with `store_user_data=True`.

        doc (Doc): the reference of an example, modified in place.
        labels (Iterable[str]): the labels whose spans are all annotated.
        """
        doc.user_data[self._labels_key] = sorted(labels)

    def annotated_labels(self, doc: Doc) -> frozenset[str] | None:
        """Get the labels that `set_annotated_labels` stored on a Doc.

        doc (Doc): the reference of an example.
        RETURNS (frozenset[str] | None): the labels, None if all labels are annotated.
        """
        labels = doc.user_data.get(self._labels_key)
        return None if labels is None else frozenset(labels)

    def unknown_tokens(self, doc: Doc) -> np.ndarray:
        """Find the tokens without annotation.

        doc (Doc): the Doc.
        RETURNS (ndarray): whether each token lacks annotation, bool (n_tokens,).
        """
        return np.zeros(len(doc), dtype=bool)

    def spans(self, doc: Doc) -> list[Span]:
        """List the spans from left to right.

        doc (Doc): the Doc.
        RETURNS (list[Span]): the spans with at least one token.
        RAISES (ValueError): if spans overlap.
        """
        spans = sorted((span for span in self.stored(doc) if len(span)), key=lambda s: s.start)
        for left, right in itertools.pairwise(spans):
            if right.start < left.end:
                raise DataError(
                    f"{self.place} contains the overlapping spans {left.text!r} "
                    f"({left.label_}, tokens {left.start} to {left.end - 1}) and {right.text!r} "
                    f"({right.label_}, tokens {right.start} to {right.end - 1}), which IOB2 tags "
                    "cannot represent. Score them with spacy.spancat_scorer.v1."
                )
        return spans

    @abstractmethod
    def write(self, doc: Doc, spans: Sequence[Span]) -> None:
        """Replace the annotation of all tokens.

        doc (Doc): the Doc, modified in place.
        spans (Sequence[Span]): the new spans.
        """

    def rename(self, doc: Doc, names: Mapping[str, str]) -> None:  # noqa: B027 - tags stay
        """Rename the labels of spans, and in the mark of `set_annotated_labels`.

        Labels of tokens are not renamed. Where several labels get one name, it counts as annotated
        if all of them do.

        doc (Doc): the Doc, modified in place.
        names (Mapping[str, str]): new names by label. Spans with the new name "" are removed.
        """

    def _rename_mark(self, doc: Doc, names: Mapping[str, str]) -> None:
        labels = self.annotated_labels(doc)
        if labels is not None:
            unknown = {name for label, name in names.items() if label not in labels}
            renamed = {names[label] for label in labels if label in names} - unknown
            self.set_annotated_labels(doc, (renamed | labels - names.keys()) - {""})

    def probabilities(
        self, doc: Doc, attributes: Iterable[str]
    ) -> dict[tuple[int, int, str], float]:
        """Read the probabilities of predicted spans.

        doc (Doc): the predicted Doc.
        attributes (Iterable[str]): extension attributes of `Span` that can contain a probability.
        RETURNS (dict[tuple[int, int, str], float]): the known probabilities, by index of the first
            token, index after the last token, and label.
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
        self._rename_mark(doc, names)
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
        first = {
            ent: next((p for name in names if (p := ent._.get(name)) is not None), None)
            for ent in doc.ents
        }
        return {span_key(ent): float(p) for ent, p in first.items() if p is not None}


@dataclass(frozen=True)
class SpanGroupTask(Task):
    """Spans in `doc.spans[key]` that do not overlap, with probabilities in `attrs["scores"]`.

    key (str): the key of `doc.spans`.
    """

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
        self._rename_mark(doc, names)
        group = doc.spans.get(self.key, ())
        if not any(span.label_ in names for span in group):
            return
        new = [(span, names.get(span.label_, span.label_)) for span in group]
        attrs = dict(group.attrs)
        if len(attrs.get("scores", ())) == len(group):
            scores = zip(attrs["scores"], new, strict=True)
            attrs["scores"] = [score for score, (_, name) in scores if name]
        spans = [_renamed(span, name) for span, name in new if name]
        doc.spans[self.key] = SpanGroup(doc, name=group.name, attrs=attrs, spans=spans)

    def probabilities(
        self, doc: Doc, attributes: Iterable[str]
    ) -> dict[tuple[int, int, str], float]:
        return {
            span_key(span): float(score)
            for span, score in self.scored(doc.spans.get(self.key, ()))
            if score is not None
        }

    @staticmethod
    def scored(group: Any) -> list[tuple[Span, float | None]]:
        """List the spans of a group with their probabilities.

        group (SpanGroup): the group.
        RETURNS (list[tuple[Span, float | None]]): the spans, with None if the group has no
            probabilities.
        """
        scores: Sequence[float | None] = group.attrs.get("scores", ()) if group else ()
        # If the numbers of scores and spans differ, the group was modified after prediction.
        if len(scores) != len(group):
            scores = [None] * len(group)
        return list(zip(group, scores, strict=True))


@dataclass(frozen=True)
class TokenTask(Task):
    """One label per token, in an attribute such as `token.tag`.

    attribute (str): the name of the attribute in `spacy.attrs`, such as "TAG". The value 0 is a
        missing label.
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
"""All tasks by name, in the order of reports."""


def list_tasks(spans_key: str = CHUNKS.key) -> list[Task]:
    """List all tasks.

    spans_key (str): the key of `doc.spans` for chunks.
    RETURNS (list[Task]): the entries of `TASKS`, with this key for chunks.
    """
    return [
        task.with_key(spans_key) if task.name == CHUNKS.name else task for task in TASKS.values()
    ]


def rename_labels(doc: Doc, names: Mapping[str, str]) -> None:
    """Rename the labels of the entities and of all spans in `doc.spans`, see `Task.rename`.

    The spans keep their probabilities.

    doc (Doc): the gold or predicted Doc, modified in place.
    names (Mapping[str, str]): new names by label, all given at once, so that two labels can
        exchange their names. Spans with the new name "" are removed.
    """
    for task in TASKS.values():
        if task.name != CHUNKS.name:
            task.rename(doc, names)
    for key in {CHUNKS.key, *doc.spans}:
        CHUNKS.with_key(key).rename(doc, names)


def annotated_tasks(doc: Doc) -> list[Task]:
    """List the tasks that are annotated in a Doc.

    doc (Doc): the Doc.
    RETURNS (list[Task]): the annotated entries of `TASKS`, and one task for each other key of
        `doc.spans`, named like the key. Tasks with labels of single tokens are last.
    """
    tasks = list(TASKS.values())
    keys = {task.key for task in tasks if isinstance(task, SpanGroupTask)}
    tasks += [replace(CHUNKS, name=key, key=key) for key in doc.spans if key not in keys]
    tasks.sort(key=lambda task: task.per_token)
    return [task for task in tasks if task.is_annotated(doc)]


def span_key(span: Span) -> tuple[int, int, str]:
    """Get the key of a span in `Task.probabilities`.

    span (Span): the span.
    RETURNS (tuple[int, int, str]): the index of its first token, the index after its last token,
        and its label.
    """
    return span.start, span.end, span.label_


def _renamed(span: Span, label: str) -> Span:
    return Span(span.doc, span.start, span.end, label, kb_id=span.kb_id, span_id=span.id)
