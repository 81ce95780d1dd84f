"""Vectors that another network computed."""

from torch import Tensor

from .base import EmbeddingModule


class Tok2VecModule(EmbeddingModule, kind="tok2vec"):
    """Return the vectors that another network computed, one per token."""

    reads = "vectors"

    def __init__(self, width: int) -> None:
        """Set the width.

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
