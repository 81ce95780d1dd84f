"""Weights of training examples, in the extension attribute `doc._.training_weight`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import DataError

ATTRIBUTE = "training_weight"
"""The extension attribute of a reference Doc: a number, or a list with one number per token."""

LARGEST = float(np.finfo(np.float32).max)
"""The largest weight."""

# The key of `doc._.training_weight` in `doc.user_data`. Reading it there needs no registration, so
# weights in a .spacy file are found in any process.
_KEY: Any = ("._.", ATTRIBUTE, None, None)

_LISTS = (list, tuple, np.ndarray)  # a tuple, if it was read from a .spacy file

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


def keep_weights(doc: Doc, start: int, end: int) -> None:
    """Keep the weights of some tokens, if a Doc has a list of weights for more tokens.

    doc (Doc): the Doc, which is modified.
    start (int): the index of the first weight to keep.
    end (int): the index after the last.
    """
    if isinstance(value := doc.user_data.get(_KEY), _LISTS):
        doc.user_data[_KEY] = value[start:end]


def spread_weights(source: Doc, target: Doc) -> None:
    """Adapt a list of weights to a Doc into which white space was inserted.

    source (Doc): the Doc with the weights.
    target (Doc): its copy with more tokens, which is modified. Tokens of white space have the
        weight of the token before them.
    """
    value = source.user_data.get(_KEY)
    if isinstance(value, _LISTS) and len(value) == len(source):  # else, see read_weights
        weights = iter([w for w, token in zip(value, source, strict=True) if not token.is_space])
        spread: list[float] = []
        for token in target:
            last = spread[-1] if spread else value[0]
            spread.append(last if token.is_space else next(weights, last))
        target.user_data[_KEY] = spread


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
