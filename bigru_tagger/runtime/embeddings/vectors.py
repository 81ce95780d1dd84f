"""Static vectors of words."""

from typing import Any

import numpy as np

from ...errors import ModelError
from ..storage import Weights
from .base import ArrayEmbedding, register
from .hash import HashArrays


class StaticVectors(ArrayEmbedding):
    """The base class for static vectors: a learned vector for unknown words, and corrections.

    See `bigru_tagger.network.embeddings.vectors.StaticVectors`.
    """

    def __init__(self, weights: Weights, width: int, correction_rows: int) -> None:
        """Take the learned parameters.

        weights (Weights): the parameters.
        width (int): width of the static vectors.
        correction_rows (int): size of the table of corrections; 0 for none.
        """
        self._unknown = weights.take("unknown", width)
        self._correction: HashArrays | None = None
        if correction_rows:
            own = weights.under("correction")
            self._correction = HashArrays(own, [correction_rows], width, 0.0, correction=True)
        self.width = width

    def finish(self, vectors: np.ndarray, known: Any, forms: np.ndarray) -> np.ndarray:
        """Fill the rows of words without a vector, and add the corrections.

        vectors (ndarray): static vectors, float32 (n_words, width).
        known (ndarray): whether each word has a vector, bool (n_words,).
        forms (ndarray): hash of each word's lower-cased form, int64 or uint64 (n_words, 1).
        RETURNS (ndarray): vectors, float32 (n_words, width).
        """
        filled = np.where(known[:, None], vectors, self._unknown)
        if self._correction is not None:
            filled += self._correction(forms)
        return filled


@register("vectors")
class VectorsArrays(StaticVectors):
    """Static vectors of the vocab, see `bigru_tagger.network.embeddings.vectors.VectorsModule`."""

    def __init__(self, weights: Weights, width: int, correction_rows: int = 0) -> None:
        """Take the parameters. See `VectorsModule` for the others."""
        super().__init__(weights, width, correction_rows)

    def __call__(self, vectors: np.ndarray, forms: np.ndarray) -> np.ndarray:
        """Fill the rows of words without a vector.

        vectors (ndarray): static vectors, (n_words, width); zeros for a word without one.
        forms (ndarray): hash of each word's lower-cased form, int64 or uint64 (n_words, 1).
        RETURNS (ndarray): vectors, float32 (n_words, width).
        RAISES (ModelError): the vocab has vectors of another width.
        """
        if vectors.shape[1] != self.width:
            raise ModelError(
                f"the word vectors of the pipeline have {vectors.shape[1]} dimensions, but the "
                f"network was trained with {self.width}: load it with its own vocab, or give the "
                "pipeline the vectors that it was trained with"
            )
        known = np.any(vectors, axis=1)
        return self.finish(vectors.astype(np.float32, copy=False), known, forms)
