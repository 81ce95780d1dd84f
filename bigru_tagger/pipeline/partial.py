"""Training targets of partial annotation: several allowed tags, and spans that are not correct."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from spacy.training import Example

from ..errors import DataError
from ..schemes import OUTSIDE, label_of, span_tags
from ..scoring.scoring import same_words

if TYPE_CHECKING:
    from .component import SequenceTagger


class PartialGold(NamedTuple):
    """What the annotation of a batch says about each token. The tokens are concatenated.

    tags (ndarray): output index of the gold tag, -1 if it is not known, int64 (n_tokens,).
    allowed (ndarray | None): the tags that the annotation allows for tokens with -1 in `tags`, bool
        (n_tokens, n_tags); None if it allows all of them.
    excluded (list[tuple[int, list[int]]]): paths that are not correct: the index of the first
        token, and the tags from there on.
    """

    tags: np.ndarray
    allowed: np.ndarray | None
    excluded: list[tuple[int, list[int]]]


def partial_gold(
    component: "SequenceTagger", examples: Sequence[Example], tags: np.ndarray
) -> PartialGold:
    """Collect the allowed tags of tokens and the incorrect spans of a batch.

    If only some labels are annotated (see `Task.annotated_labels`), O means that the token is not
    part of a span with one of these labels. It can be O, or part of a span with another label. In
    the same way, a token without a tag can have any tag that is not annotated.

    component (SequenceTagger): the component.
    examples (Sequence[Example]): the batch.
    tags (ndarray): the output index of each token's gold tag, -1 if it is missing, int64
        (n_tokens,).
    RETURNS (PartialGold): the targets.
    RAISES (ValueError): if a gold span is also marked as incorrect.
    """
    annotated = [component.annotated_labels(example) for example in examples]
    incorrect = [component.incorrect_spans(example) for example in examples]
    if not any(incorrect) and all(labels is None for labels in annotated):
        return PartialGold(tags, None, [])
    tags = tags.copy()
    allowed = np.ones((len(tags), len(component.tags)), dtype=bool)
    excluded: list[tuple[int, list[int]]] = []
    outside = component.tags.index(OUTSIDE) if component.predicts_spans else -1
    begin = 0
    for example, labels, spans in zip(examples, annotated, incorrect, strict=True):
        end = begin + len(example.predicted)
        if labels is not None:
            is_open = np.array([label not in labels for label in _labels(component)])
            if is_open.sum() > 1:
                unsure = begin + np.flatnonzero(tags[begin:end] == outside)
                tags[unsure] = -1
                allowed[unsure] = is_open
        for start, path in _paths(component, example, spans):
            first, stop = begin + start, begin + start + len(path)
            known = tags[first:stop]
            if (known == path).all():
                raise DataError(
                    f"{component.name}: the span {example.predicted[start : start + len(path)]} "
                    f"({label_of(component.tags[path[0]])}) in the training text "
                    f"{example.reference.text[:60]!r} is annotated, and is also marked as "
                    "incorrect. Remove one of the two"
                )
            is_possible = np.where(known < 0, allowed[np.arange(first, stop), path], known == path)
            if is_possible.all() and len(path) == 1:
                allowed[first, path[0]] = False
            elif is_possible.all():
                excluded.append((first, path))
        begin = end
    return PartialGold(tags, allowed, excluded)


def _labels(component: "SequenceTagger") -> list[str]:
    # The label of each tag, "" for O.
    return [label_of(tag) if component.predicts_spans else tag for tag in component.tags]


def _paths(
    component: "SequenceTagger", example: Example, spans: Sequence[tuple[int, int, str]]
) -> list[tuple[int, list[int]]]:
    # The first token and the tags of each incorrect span. An empty label stands for all labels.
    column = {tag: index for index, tag in enumerate(component.tags)}
    return [
        (start, [column[tag] for tag in span_tags(name, end - start)])
        for start, end, label in dict.fromkeys(spans)
        for name in ([label] if label else component.labels)
        if name in component.labels
    ]


def aligned_spans(example: Example, key: str) -> list[tuple[int, int, str]]:
    """List the spans of a reference that align with the tokens of the predicted Doc.

    example (Example): an example.
    key (str): the key of `doc.spans`.
    RETURNS (list[tuple[int, int, str]]): index of the first token, index after the last token, and
        label.
    """
    spans = [span for span in example.reference.spans.get(key, []) if len(span)]
    if spans and not same_words(example):
        spans = example.get_aligned_spans_y2x(spans, allow_overlap=True)
    return [(span.start, span.end, span.label_) for span in spans]
