"""Tensors to vectors: one module for each choice of embedding. No spaCy in here."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# 2^20 bits: a million values would fill it, a hundred thousand leave one false alarm in 80.
_FILTER_BITS = 20


class HashEmbedding(nn.Module):
    """Embeds attributes without a vocabulary: a value's vector is the sum of four hashed rows.

    The hashing trick of Svenstrup et al. 2017, arXiv 1709.03933. A value that training never saw
    would get the sum of other values' rows; so a Bloom filter (Bloom 1970) keeps which values were
    seen, and the others share one learned vector, which some tokens get in training too.
    """

    seen: Tensor
    multipliers: Tensor
    sizes: Tensor
    offsets: Tensor

    def __init__(self, rows: Sequence[int], width: int, unknown_rate: float) -> None:
        """Allocate one table for all attributes.

        rows (Sequence[int]): the size of each attribute's part of the table.
        width (int): width of each attribute's vector.
        unknown_rate (float): chance of a word's attribute to count as unknown in training.
        """
        super().__init__()
        self.table = nn.Embedding(sum(rows), width)
        # The sum of four rows has the variance of one row of an ordinary table of this scale.
        nn.init.normal_(self.table.weight, std=0.5 / width**0.5)
        self.unknown = nn.Parameter(torch.zeros(len(rows), width))
        self.unknown_rate = unknown_rate
        self.width = len(rows) * width
        self.register_buffer("seen", torch.zeros(1 << _FILTER_BITS, dtype=torch.bool))
        constants = torch.Generator().manual_seed(0)
        multipliers = torch.randint(1 << 62, (len(rows), 4), generator=constants) | 1
        sizes = torch.tensor(rows).unsqueeze(1)
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
        RETURNS (Tuple[Tensor, Tensor]): both int64 (n_words, n_attrs, 4).
        """
        # Multiply-shift hashing (Dietzfelbinger et al. 1997): the high bits of the product.
        products = values.unsqueeze(2) * self.multipliers
        rows = ((products >> 33) & 0x7FFFFFFF) % self.sizes + self.offsets
        bits = (products >> (64 - _FILTER_BITS)) & ((1 << _FILTER_BITS) - 1)
        return rows, bits


class CharacterCNN(nn.Module):
    """A convolution over each word's characters, and the maximum over its positions.

    Ma and Hovy 2016, arXiv 1603.01354, without an activation, as max-pooling is one.
    """

    def __init__(self, rows: int, width: int, filters: int, window: int) -> None:
        """Allocate the table and the filters.

        rows (int): size of the character table; row 0 pads.
        width (int): width of a character's vector.
        filters (int): number of filters, the width of the word's vector.
        window (int): characters that a filter sees at once, odd.
        """
        super().__init__()
        self.table = nn.Embedding(rows, width, padding_idx=0)
        self.convolution = nn.Conv1d(width, filters, window, padding=window // 2)
        self.width = filters

    def forward(self, characters: Tensor) -> Tensor:
        """Embed words by their characters.

        characters (Tensor): rows of the table, 0 behind the end, int64 (n_words, n_characters).
        RETURNS (Tensor): vectors, (n_words, filters).
        """
        vectors = self.table(characters).transpose(1, 2)  # (n_words, width, n_characters)
        features: Tensor = self.convolution(vectors)  # (n_words, filters, n_characters)
        padding = (characters == 0).unsqueeze(1)
        return features.masked_fill(padding, -torch.inf).amax(2)


class VectorEmbedding(nn.Module):
    """Passes static vectors on, with a learned vector for words that have none."""

    def __init__(self, width: int) -> None:
        """Allocate the vector of unknown words.

        width (int): width of the static vectors; 0 where the vocab has none.
        """
        super().__init__()
        self.unknown = nn.Parameter(torch.zeros(width))
        self.width = width

    def forward(self, vectors: Tensor) -> Tensor:
        """Fill the rows of words without a vector.

        vectors (Tensor): static vectors, zeros for a word without one, (n_words, width).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        known = vectors.any(1, keepdim=True)
        return torch.where(known, vectors, self.unknown)


class DenseEmbedding(nn.Module):
    """Passes vectors on that another network computed, one per token."""

    def __init__(self, width: int) -> None:
        """Note the width.

        width (int): width of the vectors.
        """
        super().__init__()
        self.width = width

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the vectors.

        vectors (Tensor): vectors, (n_tokens, width).
        RETURNS (Tensor): the same vectors.
        """
        return vectors


EMBEDDINGS: dict[str, type[HashEmbedding | CharacterCNN | VectorEmbedding | DenseEmbedding]] = {
    "hash": HashEmbedding,
    "characters": CharacterCNN,
    "vectors": VectorEmbedding,
    "dense": DenseEmbedding,
}
