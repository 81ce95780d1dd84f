"""Hash embeddings of lexical attributes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...runtime.embeddings.hash import FILTER_BITS, hash_multipliers
from .base import EmbeddingModule


class HashModule(EmbeddingModule, kind="hash"):
    """Embed attributes without a vocabulary: a value's vector is the sum of four hashed rows.

    These are hash embeddings (Svenstrup et al. 2017, arXiv 1709.03933). Without a vocabulary, a
    value that did not occur in training would have the sum of other values' rows. So a Bloom filter
    (Bloom 1970) records the values that occur in training. All others share one learned vector. It
    is trained on a random share of the tokens.
    """

    unknown: Tensor
    seen: Tensor
    multipliers: Tensor
    sizes: Tensor
    offsets: Tensor

    def __init__(
        self, rows: Sequence[int], width: int, unknown_rate: float, correction: bool = False
    ) -> None:
        """Allocate one table for all attributes.

        rows (Sequence[int]): the size of each attribute's part of the table.
        width (int): width of each attribute's vector.
        unknown_rate (float): probability that an attribute is treated as unknown in training.
        correction (bool): for vectors that are added to others: initialise all vectors with zero,
            and keep the vector of unknown values at zero.
        """
        super().__init__()
        self.table = nn.Embedding(sum(rows), width)
        if correction:
            nn.init.zeros_(self.table.weight)
            unknown = torch.zeros(len(rows), width, device="cpu")
            self.register_buffer("unknown", unknown, persistent=False)
        else:
            # The sum of four rows has the standard deviation of an ordinary table: 1 / sqrt(width).
            nn.init.normal_(self.table.weight, std=0.5 / width**0.5)
            self.unknown = nn.Parameter(torch.zeros(len(rows), width))
        self.unknown_rate = unknown_rate
        self.width = len(rows) * width
        self.register_buffer("seen", torch.zeros(1 << FILTER_BITS, dtype=torch.bool))
        # These buffers are not saved, so they need values even if the network is built on the meta
        # device to load weights.
        multipliers = torch.tensor(hash_multipliers(len(rows)), device="cpu")
        sizes = torch.tensor(rows, device="cpu").unsqueeze(1)
        self.register_buffer("multipliers", multipliers, persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Embed attributes.

        values (Tensor): 64-bit hashes of their values, int64 (n_words, n_attrs).
        RETURNS (Tensor): vectors, (n_words, n_attrs * width).
        """
        rows, bits = self.hash(values)
        if self.training:
            self.seen[bits] = True
            known = torch.rand(values.shape, device=values.device) >= self.unknown_rate
        else:
            known = self.seen[bits].all(2)
        vectors: Tensor = self.table(rows).sum(2)  # (n_words, n_attrs, width)
        return torch.where(known.unsqueeze(2), vectors, self.unknown).flatten(1)

    def hash(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Map values to rows of the table and bits of the filter.

        values (Tensor): 64-bit hashes of attributes, int64 (n_words, n_attrs).
        RETURNS (tuple[Tensor, Tensor]): both int64 (n_words, n_attrs, 4).
        """
        # Multiply-shift hashing (Dietzfelbinger et al. 1997): the high bits of the product.
        products = values.unsqueeze(2) * self.multipliers
        rows = ((products >> 33) & 0x7FFFFFFF) % self.sizes + self.offsets
        bits = (products >> (64 - FILTER_BITS)) & ((1 << FILTER_BITS) - 1)
        return rows, bits
