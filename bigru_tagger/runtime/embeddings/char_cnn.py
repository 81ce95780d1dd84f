"""A convolution over the characters of each word."""

import numpy as np

from ...time_steps import TimeSteps
from ..storage import Weights
from .base import ArrayEmbedding, register


@register("char_cnn")
class CharCNNArrays(ArrayEmbedding):
    """A convolution over characters, see `bigru_tagger.network.embeddings.char_cnn`."""

    def __init__(
        self, weights: Weights, rows: int, width: int, out_channels: int, kernel_size: int
    ) -> None:
        """Take the parameters. See `CharCNNModule` for the others."""
        self._table = weights.under("table").take("weight", rows, width)
        convolution = weights.under("convolution")
        self._kernel = convolution.take("weight", out_channels, width, kernel_size)
        self._bias = convolution.take("bias", out_channels)
        self._products: np.ndarray | None = None
        self.width = out_channels

    def __call__(self, characters: np.ndarray) -> np.ndarray:
        """Embed words by their characters.

        characters (ndarray): rows of the table, padded with 0, int64 (n_words, n_characters).
        RETURNS (ndarray): vectors, float32 (n_words, out_channels).
        """
        if self._products is None:
            # The product of each character with each column of the kernel. A few rows are added
            # instead of a matrix product per position.
            kernel = np.ascontiguousarray(self._kernel.transpose(2, 1, 0))
            products = np.matmul(self._table, kernel)
            products[:, 0] = 0.0  # padding
            self._products = products  # (kernel_size, rows, out_channels)
        half = len(self._products) // 2
        lengths = (characters != 0).sum(1)
        steps = TimeSteps(lengths, first=np.zeros_like(lengths))
        padded = np.pad(characters, ((0, 0), (half, half)))
        features = self._products[0].take(padded[steps.sequence, steps.order], 0)
        for place, products in enumerate(self._products[1:], 1):
            features += products.take(padded[steps.sequence, steps.order + place], 0)
        # By length, longest word first.
        highest = np.full((len(characters), self.width), -np.inf, np.float32)
        for here in steps.slices:
            best = highest[: here.stop - here.start]
            np.maximum(best, features[here], out=best)
        highest += self._bias
        vectors = np.empty_like(highest)
        vectors[np.argsort(-lengths, kind="stable")] = highest
        return vectors
