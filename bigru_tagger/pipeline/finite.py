"""Checks for NaN and infinity in losses, weights and word vectors."""

import math
from collections.abc import Sequence
from typing import Any

from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model, get_array_module

from ..errors import ModelError
from ..model.module_shim import ModuleShim
from ..model.shim import NetworkShim
from ..model.thinc_model import network_shim

_ROWS_AT_ONCE = 1 << 16  # rows of vectors per step, to limit memory


class NotFiniteError(ModelError):
    """A loss, weight or vector is NaN or infinite."""


def check_loss(
    name: str, model: Model[Any, Any], loss: float, examples: Sequence[Example]
) -> float:
    """Check that the loss of a batch is finite.

    name (str): name of the component.
    model (Model): the component's model.
    loss (float): the loss.
    examples (Sequence[Example]): the batch.
    RETURNS (float): the loss.
    RAISES (NotFiniteError): if the loss is NaN or infinite.
    """
    if math.isfinite(loss):
        return loss
    rate = network_shim(model).learn_rate
    when = "before the first update" if rate is None else f"after an update at learn rate {rate:g}"
    raise NotFiniteError(
        f"{name}: the loss is {loss} {when}, for a batch of {len(examples)} texts that starts "
        f"with {examples[0].reference.text[:60]!r}. {_advice(model)}"
    )


def check_weights(name: str, model: Model[Any, Any], event: str) -> None:
    """Check that all weights and tables of a model are finite.

    name (str): name of the component.
    model (Model): the component's model.
    event (str): the participle for the error message, such as "saved".
    RAISES (NotFiniteError): if a value is NaN or infinite.
    """
    broken = _broken_weights(model)
    if broken:
        raise NotFiniteError(
            f"{name}: NaN or infinite weights cannot be {event}: {', '.join(broken)}. "
            f"{_advice(model)}"
        )


def check_vectors(name: str, model: Model[Any, Any], vocab: Vocab) -> None:
    """Check that the word vectors are finite, if the model uses them.

    name (str): name of the component.
    model (Model): the component's initialized model.
    vocab (Vocab): the vocabulary.
    RAISES (NotFiniteError): if a vector contains NaN or infinity.
    """
    specs = [shim.spec for shim in _shims(model) if isinstance(shim, NetworkShim)]
    kinds = {embed["kind"] for spec in specs for embed in spec.embed.values()}
    data = getattr(vocab.vectors, "data", None)
    if "vectors" not in kinds or data is None:
        return
    xp = get_array_module(data)
    for begin in range(0, len(data), _ROWS_AT_ONCE):
        finite = xp.isfinite(data[begin : begin + _ROWS_AT_ONCE]).all(axis=1)
        if not finite.all():
            row = begin + int(finite.argmin())
            keys = [key for key, index in vocab.vectors.key2row.items() if index == row]
            words = [vocab.strings[key] for key in keys if key in vocab.strings]
            raise NotFiniteError(
                f"{name}: the vector in row {row} of nlp.vocab.vectors"
                f"{f', of {words[0]!r},' if words else ''} contains NaN or infinity. Correct the "
                "vectors and convert them again with `spacy init vectors`"
            )


def _shims(model: Model[Any, Any]) -> list[ModuleShim]:
    return [shim for node in model.walk() for shim in node.shims if isinstance(shim, ModuleShim)]


def _broken_weights(model: Model[Any, Any]) -> list[str]:
    broken = [name for shim in _shims(model) for name in shim.not_finite()]
    for node in model.walk():  # thinc layers of an upstream tok2vec
        broken += [
            f"{node.name}.{name}"
            for name in node.param_names
            if node.has_param(name) and not bool(node.ops.xp.isfinite(node.get_param(name)).all())
        ]
    return broken


def _advice(model: Model[Any, Any]) -> str:
    rate = network_shim(model).learn_rate
    if rate is None:
        return "Check the vectors and the saved weights that training started from"
    return (
        f"The learn rate was {rate:g} at the last update: lower [training.optimizer.learn_rate], "
        "check that [training.optimizer] grad_clip is above 0, and restart from a model that was "
        "saved earlier"
    )
