"""A table of static vectors that is part of the network."""

import numpy as np

from ..storage import Weights
from .base import register
from .lookup import look_up
from .vectors import StaticVectors


@register("vector_file")
class VectorFileArrays(StaticVectors):
    """A table of static vectors, see `bigru_tagger.network.embeddings.vector_file`."""

    def __init__(
        self, weights: Weights, n_words: int, width: int, half: bool, correction_rows: int = 0
    ) -> None:
        """Take the parameters. See `VectorFileModule` for the others."""
        super().__init__(weights, width, correction_rows)
        self._keys = weights.take("keys", n_words, dtype="int64")
        dtype = "float16" if half else "float32"
        self._table = weights.take("table", n_words, width, dtype=dtype)

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Look words up.

        candidates (ndarray): hashes of each word, best first, int64 or uint64
            (n_words, n_candidates). The second is that of its lower-cased form.
        RETURNS (ndarray): vectors, float32 (n_words, width).
        """
        rows, known = look_up(self._keys, candidates)
        vectors = self._table[rows].astype(np.float32, copy=False)  # of these words only
        return self.finish(vectors, known, candidates[:, 1:2])
