"""Vectors that another network computed."""

import numpy as np

from ..storage import Weights
from .base import ArrayEmbedding, register


@register("tok2vec")
class Tok2VecArrays(ArrayEmbedding):
    """Vectors that another network computed."""

    reads = "vectors"

    def __init__(self, weights: Weights, width: int) -> None:
        """Set the width. There are no parameters."""
        self.width = width

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Return the vectors.

        vectors (ndarray): vectors, (n_tokens, width).
        RETURNS (ndarray): the same vectors, float32.
        """
        return vectors.astype(np.float32, copy=False)
