"""A bidirectional GRU over the characters of each word."""

import numpy as np

from ..recurrent import Encoder
from ..storage import Weights
from .base import ArrayEmbedding, register


@register("char_gru")
class CharGRUArrays(ArrayEmbedding):
    """A bidirectional GRU over characters, see `bigru_tagger.network.embeddings.char_gru`."""

    def __init__(self, weights: Weights, rows: int, width: int, hidden: int) -> None:
        """Take the parameters. See `CharGRUModule` for the others."""
        self._table = weights.under("table").take("weight", rows, width)
        self._encoder = Encoder(weights.under("encoder"), width, [hidden])
        self._prepared: np.ndarray | None = None
        self.width = self._encoder.width

    def __call__(self, characters: np.ndarray) -> np.ndarray:
        """Embed words by their characters.

        characters (ndarray): rows of the table, padded with 0, int64 (n_words, n_characters).
        RETURNS (ndarray): vectors, float32 (n_words, 2 * hidden).
        """
        if self._prepared is None:
            self._prepared = self._encoder.prepare(self._table)
        used = characters != 0
        lengths = used.sum(1)
        states = self._encoder(lengths, (self._prepared, characters[used]), None)
        ends = lengths.cumsum()
        units = self.width // 2
        return np.concatenate([states[ends - 1, :units], states[ends - lengths, units:]], 1)
