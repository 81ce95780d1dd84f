"""Hierarchical clusters of words."""

import numpy as np

from ..storage import Weights
from .base import ArrayEmbedding, register
from .lookup import look_up


@register("clusters")
class ClusterArrays(ArrayEmbedding):
    """Clusters of words, see `bigru_tagger.network.embeddings.clusters.ClusterModule`."""

    def __init__(  # noqa: PLR0917 - as the torch module
        self,
        weights: Weights,
        n_words: int,
        n_clusters: int,
        n_prefixes: int,
        n_rows: int,
        width: int,
    ) -> None:
        """Take the parameters. See `ClusterModule` for the others."""
        self._keys = weights.take("keys", n_words, dtype="int64")
        self._clusters = weights.take("clusters", n_words, dtype="int32")
        self._rows = weights.take("rows", n_clusters + 1, n_prefixes, dtype="int64")
        self._table = weights.under("table").take("weight", n_rows, width)
        self.width = n_prefixes * width

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Look words up.

        candidates (ndarray): hashes of each word, best first, int64 or uint64
            (n_words, n_candidates).
        RETURNS (ndarray): vectors, float32 (n_words, n_prefixes * width).
        """
        found, known = look_up(self._keys, candidates)
        cluster = np.where(known, self._clusters[found], len(self._rows) - 1)
        vectors: np.ndarray = self._table[self._rows[cluster]]  # (n_words, n_prefixes, width)
        return vectors.reshape(len(candidates), self.width)
