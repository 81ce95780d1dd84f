"""Hashed attributes, embedded without a vocabulary."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .base import EmbeddingModule

# 2^20 bits: a million values would fill it, a hundred thousand leave one false alarm in 80.
_FILTER_BITS = 20


class HashModule(EmbeddingModule, kind="hash"):
    """Embeds attributes without a vocabulary: a value's vector is the sum of four hashed rows.

    The hashing trick of Svenstrup et al. 2017, arXiv 1709.03933. A value that training never saw
    would get the sum of other values' rows; so a Bloom filter (Bloom 1970) keeps which values were
    seen, and the others share one learned vector, which some tokens get in training too.
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
        unknown_rate (float): chance of a word's attribute to count as unknown in training.
        correction (bool): begin with vectors of zero, and leave that of values that training never
            saw at zero: for vectors that are added to others.
        """
        super().__init__()
        self.table = nn.Embedding(sum(rows), width)
        if correction:
            nn.init.zeros_(self.table.weight)
            unknown = torch.zeros(len(rows), width, device="cpu")
            self.register_buffer("unknown", unknown, persistent=False)
        else:
            # The sum of four rows has the variance of one row of an ordinary table of this scale.
            nn.init.normal_(self.table.weight, std=0.5 / width**0.5)
            self.unknown = nn.Parameter(torch.zeros(len(rows), width))
        self.unknown_rate = unknown_rate
        self.width = len(rows) * width
        self.register_buffer("seen", torch.zeros(1 << _FILTER_BITS, dtype=torch.bool))
        # No file stores these buffers: they have values also where a network is built on the meta
        # device, to be loaded.
        constants = torch.Generator("cpu").manual_seed(0)
        shape = (len(rows), 4)
        multipliers = torch.randint(1 << 62, shape, generator=constants, device="cpu") | 1
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
        """Hash values to rows of the table and bits of the filter.

        values (Tensor): 64-bit hashes of attributes, int64 (n_words, n_attrs).
        RETURNS (tuple[Tensor, Tensor]): both int64 (n_words, n_attrs, 4).
        """
        # Multiply-shift hashing (Dietzfelbinger et al. 1997): the high bits of the product.
        products = values.unsqueeze(2) * self.multipliers
        rows = ((products >> 33) & 0x7FFFFFFF) % self.sizes + self.offsets
        bits = (products >> (64 - _FILTER_BITS)) & ((1 << _FILTER_BITS) - 1)
        return rows, bits
