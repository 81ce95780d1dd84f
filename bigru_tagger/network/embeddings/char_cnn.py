"""A convolution over the characters of each word."""

import torch
from torch import Tensor, nn

from .base import EmbeddingModule


class CharCNNModule(EmbeddingModule, kind="char_cnn"):
    """A convolution over the characters of each word, with max-pooling over positions.

    As in Ma and Hovy 2016, arXiv 1603.01354, without an additional activation function.
    """

    def __init__(self, rows: int, width: int, out_channels: int, kernel_size: int) -> None:
        """Allocate the table and the convolution.

        rows (int): size of the character table; row 0 is padding.
        width (int): width of a character's vector.
        out_channels (int): output channels, the width of the word's vector.
        kernel_size (int): kernel size in characters, odd.
        """
        super().__init__()
        self.table = nn.Embedding(rows, width, padding_idx=0)
        self.convolution = nn.Conv1d(width, out_channels, kernel_size, padding=kernel_size // 2)
        self.width = out_channels

    def forward(self, characters: Tensor) -> Tensor:
        """Embed words by their characters.

        characters (Tensor): rows of the table, padded with 0, int64 (n_words, n_characters).
        RETURNS (Tensor): vectors, (n_words, out_channels).
        """
        if characters.device.type == "cpu" and len(characters):
            # Cut the padding to the longest word. On a GPU, reading its length would synchronise.
            characters = characters[:, : int((characters != 0).sum(1).max())]
        n_characters = characters.shape[1]
        size = self.convolution.kernel_size[0]
        padded = nn.functional.pad(self.table(characters), (0, 0, size // 2, size // 2))
        windows = torch.cat([padded[:, i : i + n_characters] for i in range(size)], 2)
        # One matrix product. On a CPU it is as fast as a convolution. On a GPU it avoids cuDNN's
        # search for an algorithm for each new shape.
        weight = self.convolution.weight.transpose(1, 2).flatten(1)  # (out_channels, size * width)
        features = nn.functional.linear(windows, weight, self.convolution.bias)
        padding = (characters == 0).unsqueeze(2)
        return features.masked_fill(padding, -torch.inf).amax(1)
