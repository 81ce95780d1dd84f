"""A bidirectional GRU over the characters of each word."""

import torch
from torch import Tensor, nn

from ..encoder import BiGRUEncoder
from ..layout import Layout
from .base import EmbeddingModule


class CharGRUModule(EmbeddingModule, kind="char_gru"):
    """A bidirectional GRU over the characters of each word, and its last state in both directions.

    As in Lample et al. 2016, arXiv 1603.01360, but with GRUs, as in Yang et al. 2017, arXiv
    1703.06345.
    """

    def __init__(self, rows: int, width: int, hidden: int) -> None:
        """Allocate the table and the GRU.

        rows (int): size of the character table; row 0 is padding.
        width (int): width of a character's vector.
        hidden (int): units of each direction.
        """
        super().__init__()
        self.table = nn.Embedding(rows, width, padding_idx=0)
        self.encoder = BiGRUEncoder(width, [hidden])
        self.width = self.encoder.width

    def forward(self, characters: Tensor) -> Tensor:
        """Embed words by their characters.

        characters (Tensor): rows of the table, padded with 0, int64 (n_words, n_characters).
        RETURNS (Tensor): vectors, (n_words, 2 * hidden).
        """
        used = characters != 0
        lengths = used.sum(1)
        layout = Layout(lengths.tolist(), characters.device)
        states = self.encoder(self.table(characters[used]), layout)  # (n_used, 2 * hidden)
        forward, backward = states.chunk(2, 1)
        ends = lengths.cumsum(0)
        return torch.cat([forward[ends - 1], backward[ends - lengths]], 1)
