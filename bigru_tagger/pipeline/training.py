"""The losses of the components, computed by PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from spacy.training import Example
from thinc.types import Floats2d

from ..corpus.weights import read_weights
from ..decoding.constrained_softmax import cross_entropy
from ..decoding.targets import SoftLabels, Targets
from ..errors import ConfigError, DataError
from ..model.devices import join_arrays, to_torch
from ..model.thinc_model import decoder_of, network_shim
from ..model.training import differentiate
from .finite import check_loss
from .label_settings import label_weights
from .partial import partial_gold
from .soft_targets import SoftTargets

if TYPE_CHECKING:
    from .component import SequenceTagger


def compute_loss(
    component: "SequenceTagger", examples: list[Example], logits: list[Floats2d]
) -> tuple[float, list[Floats2d], Callable[[], None]]:
    """Compute the decoder's loss over the tokens with a gold tag or a teacher's output.

    component (SequenceTagger): the component.
    examples (list[Example]): the batch.
    logits (list[Floats2d]): the model's logits, (n_tokens, n_tags) for each example.
    RETURNS (tuple[float, list[Floats2d], Callable]): the mean loss per learned token; its gradient
        with respect to the logits; and a callback that accumulates the gradients of the decoder's
        parameters.
    RAISES (ValueError): see `SequenceTagger.get_loss`.
    """
    targets = _targets(component, examples)
    n_learned = targets.n_learned
    if not n_learned:
        return 0.0, [part * 0.0 for part in logits], lambda: None
    decoder, valid = decoder_of(component.model), component.valid_transitions
    losses, gradient, backprop_decoder = differentiate(
        component.model,
        logits,
        lambda joined: decoder.loss(joined, targets, valid) / n_learned,
    )
    for example, loss, part in zip(examples, losses, logits, strict=True):
        if np.isinf(loss) and component.model.ops.xp.isfinite(part).all():
            raise DataError(
                f"{component.name}: the tags of the training text {example.reference.text[:60]!r} "
                f"are not a valid sequence: {component.gold_tags(example)}. Correct the annotation "
                "or remove the text"
            )
    loss = check_loss(component.name, component.model, float(losses.sum()), examples)
    return loss, gradient, backprop_decoder


def _targets(component: "SequenceTagger", examples: list[Example]) -> Targets:
    soft_targets = [component.soft_targets(example) for example in examples]
    has_soft = any(part is not None for part in soft_targets)
    component.check_soft_labels(has_soft=has_soft)
    device = network_shim(component.model).device
    lengths = [len(example.predicted) for example in examples]
    column = {tag: index for index, tag in enumerate(component.tags)}
    gold = partial_gold(component, examples, _gold_columns(component, examples, column))
    weights = _weights(component, examples, gold.tags)
    return Targets(
        to_torch(gold.tags, device),
        lengths,
        component.cfg["label_smoothing"],
        join(soft_targets, lengths, column, device) if has_soft else None,
        None if weights is None else to_torch(weights, device),
        allowed=None if gold.allowed is None else to_torch(gold.allowed, device),
        excluded=gold.excluded,
    )


def _weights(
    component: "SequenceTagger", examples: list[Example], gold: np.ndarray
) -> np.ndarray | None:
    # The weight of each token, float32 (n_tokens,); None if there are no weights.
    by_example = [read_weights(example) for example in examples]
    by_label = label_weights(component, gold)
    if by_label is None and all(part is None for part in by_example):
        return None
    if not decoder_of(component.model).weighted:
        decode = network_shim(component.model).spec.decode
        raise ConfigError(
            f'{component.name}: decode = "{decode}" does not support weights in the loss: remove '
            "label_weights and doc._.training_weight, or use another decoder"
        )
    weights = np.concatenate(
        [
            np.ones(len(example.predicted), np.float32) if part is None else part
            for part, example in zip(by_example, examples, strict=True)
        ]
    )
    return weights if by_label is None else weights * by_label


def _gold_columns(
    component: "SequenceTagger", examples: list[Example], column: dict[str, int]
) -> np.ndarray:
    # The output index of each token's gold tag, -1 for missing tags, (n_tokens,).
    columns = []
    for example in examples:
        tags = component.gold_tags(example)
        unknown = next((tag for tag in tags if tag is not None and tag not in column), None)
        if unknown is not None:
            raise DataError(
                f"{component.name}: the tag {unknown!r} in the training text "
                f"{example.reference.text[:60]!r} has an unknown label. The component's labels "
                f"are {list(component.labels)}. Was it initialized on other data? Add the label "
                f"with add_label, or list all labels under [initialize.components.{component.name}]"
            )
        columns += [-1 if tag is None else column[tag] for tag in tags]
    return np.array(columns, dtype=np.int64)


def compute_rehearsal_loss(
    component: "SequenceTagger",
    examples: list[Example],
    logits: list[Floats2d],
    before: list[Floats2d],
) -> tuple[float, list[Floats2d]]:
    """Compute the cross-entropy with the component's earlier predictions.

    component (SequenceTagger): the component.
    examples (list[Example]): the batch.
    logits (list[Floats2d]): the model's logits, (n_tokens, n_tags) for each example.
    before (list[Floats2d]): those of the earlier model.
    RETURNS (tuple[float, list[Floats2d]]): the mean loss per token, and its gradient with respect
        to the logits.
    RAISES (ValueError): if the loss is not finite.
    """
    device = network_shim(component.model).device
    targets = to_torch(join_arrays(before, len(component.tags)), device).softmax(1)
    losses, gradient, _ = differentiate(
        component.model, logits, lambda joined: cross_entropy(joined, targets) / len(targets)
    )
    return check_loss(component.name, component.model, float(losses.sum()), examples), gradient


def join(
    targets: Sequence[SoftTargets | None],
    lengths: Sequence[int],
    column: Mapping[str, int],
    device: str,
) -> SoftLabels:
    """Batch soft targets for the loss.

    targets (Sequence[SoftTargets | None]): the targets of each Doc, None for Docs without.
    lengths (Sequence[int]): the number of tokens of each Doc.
    column (Mapping[str, int]): the student's output index for each tag.
    device (str): the device of the returned tensors.
    RETURNS (SoftLabels): the targets of all tokens, concatenated, over the student's tags.
    RAISES (ValueError): see `SoftTargets.soften`.
    """
    distributions = [
        np.zeros((length, len(column)), np.float32) if part is None else part.soften(column)
        for part, length in zip(targets, lengths, strict=True)
    ]
    settings = [(1.0, 0.0) if part is None else (part.temperature, part.weight) for part in targets]
    temperature, weight = np.repeat(np.array(settings, np.float32), lengths, axis=0).T
    arrays = (np.concatenate(distributions), temperature.copy(), weight.copy())
    return SoftLabels(*(to_torch(array, device) for array in arrays))
