"""A table of static vectors that is part of the network."""

import torch
from torch import Tensor

from .lookup import look_up
from .vectors import StaticVectors


class VectorFileModule(StaticVectors, kind="vector_file"):
    """Look up static vectors in a table, with a learned vector for words that it does not have."""

    keys: Tensor
    table: Tensor

    def __init__(self, n_words: int, width: int, half: bool, correction_rows: int = 0) -> None:
        """Allocate the table.

        n_words (int): words in the table.
        width (int): width of the vectors.
        half (bool): store them in half precision.
        correction_rows (int): see `StaticVectors`.
        """
        super().__init__(width, correction_rows)
        self.register_buffer("keys", torch.zeros(n_words, dtype=torch.int64))
        dtype = torch.float16 if half else torch.float32
        self.register_buffer("table", torch.zeros(n_words, width, dtype=dtype))

    def forward(self, candidates: Tensor) -> Tensor:
        """Look words up.

        candidates (Tensor): hashes of each word, best first, int64 (n_words, n_candidates). The
            second is that of its lower-cased form.
        RETURNS (Tensor): vectors, (n_words, width).
        """
        rows, known = look_up(self.keys, candidates)
        return self.finish(self.table[rows].float(), known.unsqueeze(1), candidates[:, 1:2])
