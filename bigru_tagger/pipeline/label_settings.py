"""The settings of a component that have a value for each label, or select labels."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .component import SequenceTagger


def store_settings(
    name: str, label_weights: Mapping[str, float] | None, learned_labels: Sequence[str] | None
) -> dict[str, Any]:
    """Check settings, and list those that are saved with a component because they are used.

    name (str): name of the component.
    label_weights (Mapping[str, float] | None): see `make_bigru_ner`.
    learned_labels (Sequence[str] | None): the setting `labels` of `make_bigru_ner`.
    RETURNS (dict[str, Any]): the settings that are set, by name.
    RAISES (ValueError): if a weight is not a finite number of at least 0, or there are no labels.
    """
    for label, weight in (label_weights or {}).items():
        if not 0.0 <= weight < np.inf:
            raise ValueError(f"{name}: label_weights of {label} must be at least 0; got {weight}")
    if learned_labels is not None and not learned_labels:
        raise ValueError(f"{name}: labels is an empty list: name at least one label, or set null")
    settings: dict[str, Any] = {}
    if label_weights:
        settings["label_weights"] = dict(label_weights)
    if learned_labels is not None:
        settings["learned_labels"] = list(learned_labels)
    return settings


def learns(cfg: Mapping[str, Any], label: str) -> bool:
    """Check whether a component learns a label, see the setting `labels` of `make_bigru_ner`.

    cfg (Mapping[str, Any]): the settings of the component.
    label (str): the label.
    RETURNS (bool): whether the gold annotation with this label is used.
    """
    selected: Collection[str] | None = cfg.get("learned_labels")
    return selected is None or label in selected


def choose_labels(component: "SequenceTagger", found: Collection[str]) -> list[str]:
    """Choose the labels to learn, and warn of selected labels that do not occur.

    component (SequenceTagger): the component.
    found (Collection[str]): the labels of the training examples.
    RETURNS (list[str]): the selected labels in their order; or all labels, sorted.
    """
    labels: list[str] = component.cfg.get("learned_labels") or sorted(found)
    missing = [label for label in labels if label not in found]
    if missing:
        warnings.warn(
            f"{component.name}: the training examples do not contain {', '.join(missing)} of the "
            f"setting `labels`. They contain {', '.join(sorted(found)) or 'no labels'}",
            UserWarning,
            stacklevel=3,
        )
    return labels


def check_names(component: "SequenceTagger") -> None:
    """Check the labels of the settings that have a value for each label.

    component (SequenceTagger): a component that has its labels.
    RAISES (ValueError): if a setting names a label that the component does not have. It would have
        no effect.
    """
    names = {*component.labels, *map(component.label_of, component.tags)}
    for setting in ("label_weights", "recall_bias"):
        value = component.cfg.get(setting)
        unknown = sorted(set(value) - names) if isinstance(value, Mapping) else []
        if unknown:
            raise ValueError(
                f"{component.name}: {setting} has the unknown label {unknown[0]!r}: choose from "
                f"{', '.join(sorted(names))}"
            )


def per_tag(component: "SequenceTagger", values: Mapping[str, float], default: float) -> np.ndarray:
    """Get the value of a setting for each tag.

    component (SequenceTagger): the component.
    values (Mapping[str, float]): values by label, see `SequenceTagger.label_of`.
    default (float): the value of other labels.
    RETURNS (ndarray): float32 (n_tags,).
    """
    found = [values.get(component.label_of(tag), default) for tag in component.tags]
    return np.array(found, dtype=np.float32)


def label_weights(component: "SequenceTagger", gold: np.ndarray) -> np.ndarray | None:
    """Get the weights of tokens in the loss by the labels of their gold tags.

    component (SequenceTagger): the component.
    gold (ndarray): the index of each token's gold tag, -1 for missing tags, int64 (n_tokens,).
    RETURNS (ndarray | None): float32 (n_tokens,), 1 for missing tags; None if the setting
        `label_weights` is not set.
    """
    values = component.cfg.get("label_weights")
    if not values:
        return None
    return np.where(gold < 0, np.float32(1.0), per_tag(component, values, 1.0)[gold])
