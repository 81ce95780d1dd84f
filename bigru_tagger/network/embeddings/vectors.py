"""Static vectors of words."""

import torch
from torch import Tensor, nn

from .base import EmbeddingModule
from .hash import HashModule


class StaticVectors(EmbeddingModule):
    """The base of static vectors: a learned vector for unknown words, and learned corrections.

    The vectors themselves do not change. Training may add a correction to a word's vector, hashed
    by the word's lower-cased form, so that fine-tuning needs no vocabulary either. It begins at
    zero, and is zero for words that training never saw, but for the filter's false alarms, see
    `HashModule`. Weight decay pulls it back to zero, and so the vector back to the static one.
    To fine-tune a table of vectors in full is, but for the hashing, this same function under
    another decay, one that pulls vectors to zero.
    """

    def __init__(self, width: int, correction_rows: int) -> None:
        """Allocate what is learned.

        width (int): width of the static vectors.
        correction_rows (int): size of the table of corrections; 0 for none.
        """
        super().__init__()
        self.unknown = nn.Parameter(torch.zeros(width))
        self.correction: HashModule | None = None
        if correction_rows:
            self.correction = HashModule([correction_rows], width, 0.0, correction=True)
        self.width = width

    def finish(self, vectors: Tensor, known: Tensor, forms: Tensor) -> Tensor:
        """Fill the rows of words without a vector, and correct all rows.

        vectors (Tensor): static vectors, (n_words, width).
        known (Tensor): whether the word has one, bool (n_words, 1).
        forms (Tensor): hash of each word's lower-cased form, int64 (n_words, 1).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        filled = torch.where(known, vectors, self.unknown)
        return filled if self.correction is None else filled + self.correction(forms)


class VectorsModule(StaticVectors, kind="vectors"):
    """Passes static vectors on, with a learned vector for words that have none."""

    def __init__(self, width: int, correction_rows: int = 0) -> None:
        """Allocate what is learned.

        width (int): width of the static vectors; 0 where the vocab has none.
        correction_rows (int): see `StaticVectors`.
        """
        super().__init__(width, correction_rows)

    def forward(self, vectors: Tensor, forms: Tensor) -> Tensor:
        """Fill the rows of words without a vector.

        vectors (Tensor): static vectors, zeros for a word without one, (n_words, width).
        forms (Tensor): hash of each word's lower-cased form, int64 (n_words, 1).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        return self.finish(vectors, vectors.any(1, keepdim=True), forms)
