"""Weights of training examples, in the extension attribute `doc._.training_weight`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import DataError

ATTRIBUTE = "training_weight"
"""The extension attribute of a reference Doc: a number, or a list with one number per token."""

# The key of `doc._.training_weight` in `doc.user_data`. Reading it there needs no registration, so
# weights in a .spacy file are found in any process.
_KEY: Any = ("._.", ATTRIBUTE, None, None)

if not Doc.has_extension(ATTRIBUTE):
    Doc.set_extension(ATTRIBUTE, default=None)


def set_weights(doc: Doc, weights: Sequence[float]) -> None:
    """Store the weights of a Doc's tokens in `doc._.training_weight`.

    doc (Doc): the reference of a training example, which is modified.
    weights (Sequence[float]): one weight per token, at least 0. If all are equal, a single number
        is stored; nothing is stored if all are 1.
    """
    if any(weight != 1.0 for weight in weights):
        equal = len(set(weights)) == 1
        doc.user_data[_KEY] = float(weights[0]) if equal else [float(part) for part in weights]


def read_weights(example: Example) -> np.ndarray | None:
    """Read the weights of an example.

    example (Example): the example. The weights are those of its reference.
    RETURNS (ndarray | None): one weight per token of the predicted Doc, float32 (n_tokens,); None
        if the example has no weight.
    RAISES (ValueError): if a weight is not a finite number of at least 0, or if there is a list and
        its length is not the number of tokens of both Docs.
    """
    value: Any = example.reference.user_data.get(_KEY)
    if value is None:
        return None
    n_tokens = len(example.predicted)
    where = f"doc._.{ATTRIBUTE} of the training text {example.reference.text[:60]!r}"
    try:
        weights = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        weights = np.full(1, np.nan, dtype=np.float32)
    if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
        raise DataError(f"{where} must be a finite number of at least 0, or a list; got {value!r}")
    if weights.ndim == 0:
        return np.full(n_tokens, weights)
    if not weights.shape == (n_tokens,) == (len(example.reference),):
        raise DataError(
            f"{where} is a list of {len(weights)} weights, but the Doc has "
            f"{len(example.reference)} tokens, and {n_tokens} where it is predicted: use one "
            "number for the Doc, or one weight for each token"
        )
    return weights
