"""Marks on gold Docs of which only some labels are annotated."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from spacy.training import Example

from ..errors import ConfigError
from ..tasks import CHUNKS, ENTITIES, TAGS, Task

AnnotatedLabels: TypeAlias = list[str] | dict[str, list[str]]
"""The annotated labels of entities, or those of each layer: "ner", "pos" or "chunk"."""

_TASKS: dict[str, Task] = {"ner": ENTITIES, "pos": TAGS, "chunk": CHUNKS}


def labels_by_task(labels: AnnotatedLabels | None, spans_key: str) -> dict[Task, list[str]]:
    """Find the kind of annotation of each layer.

    labels (AnnotatedLabels | None): the annotated labels; None if all are.
    spans_key (str): the key of the chunks in `doc.spans`.
    RETURNS (dict[Task, list[str]]): the annotated labels by task.
    RAISES (ValueError): if there is no such layer, or a layer has no labels.
    """
    layers: dict[str, Any] = (
        labels if isinstance(labels, dict) else {} if labels is None else {"ner": labels}
    )
    for layer, names in layers.items():
        if layer not in _TASKS or not names or isinstance(names, str):
            raise ConfigError(
                f"annotated_labels must list labels, or labels by layer ({', '.join(_TASKS)}); got "
                f"{layer!r}: {names!r}"
            )
    return {_TASKS[layer].with_key(spans_key): names for layer, names in layers.items()}


def mark_examples(
    examples: Iterable[Example], annotated: dict[Task, list[str]], source: str
) -> Iterator[Example]:
    """Mark the references of examples, see `Task.set_annotated_labels`.

    Warns at the end about labels that do not occur.

    examples (Iterable[Example]): the examples.
    annotated (dict[Task, list[str]]): the annotated labels by task.
    source (str): the name of the corpus, for the warning.
    YIELDS (Example): the same examples.
    """
    missing = {(task, label) for task, labels in annotated.items() for label in labels}
    for example in examples:
        for task, labels in annotated.items():
            task.set_annotated_labels(example.reference, labels)
            if missing:
                missing -= {(task, span.label_) for span in task.stored(example.reference)}
        yield example
    if missing:
        warnings.warn(
            f"{source}: annotated_labels: the data contain no {' or '.join(_names(missing))}. "
            "Check the spelling of the labels",
            UserWarning,
            stacklevel=2,
        )


def _names(missing: Iterable[tuple[Task, str]]) -> list[str]:
    return sorted(f"{task.singular} {label!r}" for task, label in missing)
