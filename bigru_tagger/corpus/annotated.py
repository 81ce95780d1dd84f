"""Which labels a corpus annotates, and under which names."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from spacy.training import Example

from ..errors import ConfigError
from ..tasks import CHUNKS, ENTITIES, TAGS, Task, list_tasks, rename_labels

AnnotatedLabels: TypeAlias = list[str] | dict[str, list[str]]
"""The annotated labels of entities, or those of each layer: "ner", "pos" or "chunk"."""

_TASKS: dict[str, Task] = {"ner": ENTITIES, "pos": TAGS, "chunk": CHUNKS}


@dataclass(frozen=True)
class GoldLabels:
    """The labels of a corpus: the settings `rename` and `annotated_labels` of a reader.

    names (Mapping[str, str]): new names of entity and chunk labels. Spans with the new name "" are
        removed.
    annotated (Mapping[Task, list[str]]): the annotated labels by task, after renaming. All labels
        of a task that is left out are annotated.
    spans_key (str): the key of the chunks in `doc.spans`.
    """

    names: Mapping[str, str]
    annotated: Mapping[Task, list[str]]
    spans_key: str

    def apply(self, examples: Iterable[Example], source: str) -> Iterator[Example]:
        """Rename the labels of gold Docs, and mark them, see `Task.set_annotated_labels`.

        Warns at the end about labels that do not occur.

        examples (Iterable[Example]): the examples. Their references are modified.
        source (str): the name of the corpus, for the warning.
        YIELDS (Example): the same examples.
        """
        unused = set(self.names)
        missing = {(task, label) for task, labels in self.annotated.items() for label in labels}
        for example in examples:
            gold = example.reference
            if unused:
                tasks = [task for task in list_tasks(self.spans_key) if not task.per_token]
                unused -= {span.label_ for task in tasks for span in task.stored(gold)}
            if self.names:
                rename_labels(gold, self.names, spans_key=self.spans_key)
            for task, labels in self.annotated.items():
                task.set_annotated_labels(gold, labels)
                if missing:
                    missing -= {(task, span.label_) for span in task.stored(gold)}
            yield example
        _warn_of_missing(source, "rename", sorted(f"label {label!r}" for label in unused))
        labels = sorted(f"{task.singular} {label!r}" for task, label in missing)
        _warn_of_missing(source, "annotated_labels", labels)


def _warn_of_missing(source: str, setting: str, labels: list[str]) -> None:
    if labels:
        warnings.warn(
            f"{source}: {setting}: the data contain no {' or '.join(labels)}. Check the spelling "
            "of the labels",
            UserWarning,
            stacklevel=3,
        )


def gold_labels(
    annotated: AnnotatedLabels | None, names: Mapping[str, str] | None, spans_key: str
) -> GoldLabels:
    """Check the settings of a reader.

    annotated (AnnotatedLabels | None): the annotated labels; None if all are.
    names (Mapping[str, str] | None): new names by label; None if none are renamed.
    spans_key (str): the key of the chunks in `doc.spans`.
    RETURNS (GoldLabels): the labels of the corpus.
    RAISES (ValueError): if there is no such layer, a layer has no labels, or a name is no text.
    """
    layers: dict[str, Any] = (
        annotated
        if isinstance(annotated, dict)
        else {}
        if annotated is None
        else {"ner": annotated}
    )
    for layer, labels in layers.items():
        if layer not in _TASKS or not labels or isinstance(labels, str):
            raise ConfigError(
                f"annotated_labels must list labels, or labels by layer ({', '.join(_TASKS)}); got "
                f"{layer!r}: {labels!r}"
            )
    names = {} if names is None else names
    if not isinstance(names, Mapping) or not all(
        isinstance(text, str) and label for label, name in names.items() for text in (label, name)
    ):
        raise ConfigError(
            'rename must have a new name for each label, such as {"PERSON": "PER"}; got '
            f"{names!r}"
        )
    by_task = {_TASKS[layer].with_key(spans_key): labels for layer, labels in layers.items()}
    return GoldLabels(dict(names), by_task, spans_key)
