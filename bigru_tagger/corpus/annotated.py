"""Which labels a corpus annotates, and under which names."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from spacy.tokens import Doc
from spacy.training import Example

from ..errors import ConfigError
from ..tasks import CHUNKS, ENTITIES, TAGS, Task, rename_labels
from .sentences import is_label

AnnotatedLabels: TypeAlias = list[str] | dict[str, list[str]]
"""The annotated labels of entities, or those of each layer: "ner", "pos" or "chunk"."""

_TASKS: dict[str, Task] = {"ner": ENTITIES, "pos": TAGS, "chunk": CHUNKS}


@dataclass(frozen=True)
class GoldLabels:
    """The labels of a corpus: the settings `rename` and `annotated_labels` of a reader.

    names (Mapping[str, str]): new names of the labels of entities and spans. Spans with the new
        name "" are removed.
    annotated (Mapping[Task, list[str]]): the annotated labels by task, after renaming. All labels
        of a task that is left out are annotated.
    """

    names: Mapping[str, str]
    annotated: Mapping[Task, list[str]]

    def apply(self, examples: Iterable[Example], source: str, *, whole: bool) -> Iterator[Example]:
        """Rename the labels of gold Docs, and mark them, see `Task.set_annotated_labels`.

        Warns at the end of the whole corpus about labels that do not occur.

        examples (Iterable[Example]): the examples. Their references are modified.
        source (str): the name of the corpus, for the warning.
        whole (bool): whether the examples are the whole corpus, without a limit.
        YIELDS (Example): the same examples.
        """
        unused = set(self.names)
        missing = {(task, label) for task, labels in self.annotated.items() for label in labels}
        for example in examples:
            gold = example.reference
            if unused:
                unused -= _span_labels(gold)
            if self.names:
                rename_labels(gold, self.names)
            for task, labels in self.annotated.items():
                task.set_annotated_labels(gold, labels)
                if missing:
                    missing -= {(task, span.label_) for span in task.stored(gold)}
            yield example
        if whole:
            labels = sorted(f"entity or span {label!r}" for label in unused)
            _warn_of_missing(source, "rename", labels)
            labels = sorted(f"{task.singular} {label!r}" for task, label in missing)
            _warn_of_missing(source, "annotated_labels", labels)


def _span_labels(doc: Doc) -> set[str]:
    groups = [doc.ents, *doc.spans.values()]
    return {span.label_ for group in groups for span in group}


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
    RAISES (ValueError): if there is no such layer, a layer has no labels, or a name is no text or
        has characters that no label may contain.
    """
    layers = annotated if isinstance(annotated, dict) else {"ner": annotated}
    for layer, labels in layers.items():
        if annotated is not None and (
            layer not in _TASKS or not labels or not isinstance(labels, list | tuple)
        ):
            raise ConfigError(
                f"annotated_labels must list labels, or labels by layer ({', '.join(_TASKS)}); got "
                f"{layer!r}: {labels!r}"
            )
    names = {} if names is None else names
    if not isinstance(names, Mapping) or not all(
        isinstance(label, str) and label and isinstance(name, str) and is_label(name or "X")
        for label, name in names.items()
    ):
        raise ConfigError(
            'rename must have a new name for each label, such as {"PERSON": "PER"}, without '
            f"white space at its ends and characters that cannot be seen; got {names!r}"
        )
    by_task = {
        _TASKS[layer].with_key(spans_key): list(labels)
        for layer, labels in layers.items()
        if labels
    }
    return GoldLabels(dict(names), by_task)
