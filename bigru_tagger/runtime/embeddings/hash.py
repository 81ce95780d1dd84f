"""Hash embeddings of lexical attributes."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from ...errors import ModelError
from ..storage import Weights
from .base import ArrayEmbedding, register
from .lookup import signed

FILTER_BITS = 20
"""Binary logarithm of the number of bits of a Bloom filter, see `HashArrays`. With 100,000 values,
the filter has one false positive in 80; a million would fill it."""


@cache
def hash_multipliers(n_attrs: int) -> np.ndarray:
    """Return the multipliers of `HashArrays`.

    Saved models depend on these numbers, but do not contain them. They are those of
    `torch.randint(1 << 62, shape, generator=torch.Generator().manual_seed(0)) | 1`. Both libraries
    draw from the same Mersenne Twister.

    n_attrs (int): number of attributes.
    RETURNS (ndarray): odd, int64 (n_attrs, 4).
    """
    state = np.random.RandomState(0)
    drawn = state.randint(0, 1 << 32, (n_attrs, 4, 2), dtype=np.uint64)
    numbers = (drawn[:, :, 0] << np.uint64(32) | drawn[:, :, 1]) & np.uint64((1 << 62) - 1)
    multipliers: np.ndarray = numbers.astype(np.int64) | 1
    multipliers.flags.writeable = False  # shared by all callers
    return multipliers


@register("hash")
class HashArrays(ArrayEmbedding):
    """Sums of four hashed rows, see `bigru_tagger.network.embeddings.hash.HashModule`."""

    def __init__(
        self,
        weights: Weights,
        rows: Sequence[int],
        width: int,
        unknown_rate: float,
        correction: bool = False,
    ) -> None:
        """Take the parameters. See `HashModule` for the others."""
        sizes = np.array(rows, dtype=np.int64).reshape(len(rows), 1)
        if len(rows) and not all(isinstance(n, int) and n > 0 for n in rows):
            raise ModelError(f"'rows' must be positive numbers; got {rows!r}")
        self._sizes, self._offsets = sizes, sizes.cumsum(0) - sizes
        self._table = weights.under("table").take("weight", sum(rows), width)
        shape = (len(rows), width)
        self._unknown = (
            np.zeros(shape, np.float32) if correction else weights.take("unknown", *shape)
        )
        self._seen = weights.take("seen", 1 << FILTER_BITS, dtype="bool")
        self._multipliers = hash_multipliers(len(rows))
        self.width = len(rows) * width

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Embed attributes.

        values (ndarray): 64-bit hashes of their values, int64 or uint64 (n_words, n_attrs).
        RETURNS (ndarray): vectors, float32 (n_words, n_attrs * width).
        """
        products = signed(values)[:, :, None] * self._multipliers
        rows = ((products >> 33) & 0x7FFFFFFF) % self._sizes + self._offsets
        known = self._seen[(products >> (64 - FILTER_BITS)) & ((1 << FILTER_BITS) - 1)].all(2)
        vectors = self._table.take(rows[:, :, 0], 0)  # (n_words, n_attrs, width)
        for number in range(1, rows.shape[2]):
            vectors += self._table.take(rows[:, :, number], 0)
        np.copyto(vectors, self._unknown, where=~known[:, :, None])
        flat: np.ndarray = vectors.reshape(len(values), self.width)
        return flat
