"""The settings of a component, most of which have a value for each label, or select labels."""

import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, InputError, ModelError

if TYPE_CHECKING:
    from .component import SequenceTagger


def _is_number(value: Any) -> bool:
    # Not NumPy's float32, which JSON does not have.
    return type(value) is not bool and isinstance(value, int | float) and math.isfinite(value)


def _are_labels(value: Any) -> bool:
    are_names = isinstance(value, Sequence) and not isinstance(value, str)
    are_names = are_names and all(isinstance(label, str) and label for label in value)
    return are_names and len(set(value)) == len(value)


# The condition of each setting that is saved with a component, and its description.
_CONDITIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (_are_labels, "must be a list of different labels, none of them empty"),
    "learned_labels": (
        lambda value: bool(value) and _are_labels(value),
        "is the setting `labels`, and must be null or name at least one label, each of them once",
    ),
    "label_smoothing": (
        lambda value: _is_number(value) and 0.0 <= value < 1.0,
        "must be at least 0 and below 1",
    ),
    "label_weights": (
        lambda value: (
            isinstance(value, Mapping)
            and all(_is_number(weight) and weight >= 0.0 for weight in value.values())
        ),
        "must have a number of at least 0 for each label",
    ),
    "threshold": (
        lambda value: _is_number(value) and 0.0 <= value <= 1.0,
        "must be a number from 0 to 1",
    ),
    "temperature": (lambda value: _is_number(value) and value > 0.0, "must be above 0"),
    "recall_bias": (
        lambda value: (
            value is None
            or all(map(_is_number, value.values() if isinstance(value, Mapping) else [value]))
        ),
        "must be a finite number, have one for each label, or be null",
    ),
    "n_spans": (
        lambda value: type(value) is int and value >= 0,
        "must be a whole number of at least 0",
    ),
    "incorrect_spans_key": (
        lambda value: value is None or isinstance(value, str),
        "must be a name or null",
    ),
    "spans_key": (lambda value: isinstance(value, str), "must be a name"),
    "overwrite": (lambda value: isinstance(value, bool), "must be true or false"),
}
# Settings that all components of one kind have, and no others.
_OF_KINDS = {"spans_key", "overwrite"}


def check_settings(
    place: str, cfg: Mapping[str, Any], error: type[InputError] = ConfigError
) -> None:
    """Check the values of settings.

    place (str): the component or the file, for the error message.
    cfg (Mapping[str, Any]): the settings by name. Others than those of this package are ignored.
    error (type[InputError]): the type of the error.
    RAISES (InputError): if a value is not valid, with this type.
    """
    for name, value in cfg.items():
        is_valid, condition = _CONDITIONS.get(name, (None, ""))
        if is_valid is not None and not is_valid(value):
            raise error(f"{place}: {name} {condition}; got {value!r}")


def load_settings(component: "SequenceTagger", settings: Any, place: str) -> None:
    """Set the settings of a saved component.

    component (SequenceTagger): the component.
    settings (Any): the settings by name, which are checked.
    place (str): the file, for the error message.
    RAISES (ModelError): if a value is not valid, or the settings are those of another kind of
        component.
    """
    if not isinstance(settings, Mapping):
        raise ModelError(f"{place}: must hold settings by name: copy or download the model again")
    check_settings(place, settings, ModelError)
    if _OF_KINDS & settings.keys() != _OF_KINDS & component.cfg.keys():
        raise ModelError(
            f"{place}: has the settings of another kind of component: copy the folder of this "
            "component from the same pipeline"
        )
    component.cfg.update(settings)


def store_settings(
    label_weights: Mapping[str, float] | None, learned_labels: Sequence[str] | None
) -> dict[str, Any]:
    """List the settings that are saved with a component because they are used.

    label_weights (Mapping[str, float] | None): see `make_bigru_ner`.
    learned_labels (Sequence[str] | None): the setting `labels` of `make_bigru_ner`.
    RETURNS (dict[str, Any]): the settings that are set, by name.
    """
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


def check_names(component: "SequenceTagger", error: type[InputError] = ConfigError) -> None:
    """Check the labels of the settings that have a value for each label.

    component (SequenceTagger): a component that has its labels.
    error (type[InputError]): the type of the error.
    RAISES (InputError): if a setting names a label that the component does not have, with this
        type. It would have no effect.
    """
    labels = {*component.labels}
    with_outside = {*labels, *map(component.label_of, component.tags)}
    for setting, names in (("label_weights", with_outside), ("recall_bias", labels)):
        value = component.cfg.get(setting)
        unknown = sorted(set(value) - names) if isinstance(value, Mapping) else []
        if unknown:
            raise error(
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
