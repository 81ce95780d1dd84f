"""Hierarchical clusters of words."""

import torch
from torch import Tensor, nn

from .base import EmbeddingModule
from .lookup import look_up


class ClusterModule(EmbeddingModule, kind="clusters"):
    """Embeddings of the prefixes of a word's path in a tree of clusters (Miller et al. 2004)."""

    keys: Tensor
    clusters: Tensor
    rows: Tensor

    def __init__(
        self, n_words: int, n_clusters: int, n_prefixes: int, n_rows: int, width: int
    ) -> None:
        """Allocate the tables.

        n_words (int): number of words with a cluster.
        n_clusters (int): number of clusters.
        n_prefixes (int): number of prefixes per path.
        n_rows (int): number of distinct prefixes of all lengths, plus one per length for words
            without a cluster.
        width (int): width of each prefix's vector.
        """
        super().__init__()
        self.register_buffer("keys", torch.zeros(n_words, dtype=torch.int64))
        self.register_buffer("clusters", torch.zeros(n_words, dtype=torch.int32))
        rows = torch.zeros(n_clusters + 1, n_prefixes, dtype=torch.int64)
        self.register_buffer("rows", rows)
        self.table = nn.Embedding(n_rows, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        self.width = n_prefixes * width

    def forward(self, candidates: Tensor) -> Tensor:
        """Look words up.

        candidates (Tensor): hashes of each word, the best first, int64 (n_words, n_candidates).
        RETURNS (Tensor): vectors, (n_words, n_prefixes * width).
        """
        found, known = look_up(self.keys, candidates)
        cluster = torch.where(known, self.clusters[found].long(), len(self.rows) - 1)
        vectors: Tensor = self.table(self.rows[cluster])  # (n_words, n_prefixes, width)
        return vectors.flatten(1)
