"""Static vectors of words."""

import torch
from torch import Tensor, nn

from .base import EmbeddingModule
from .hash import HashModule


class StaticVectors(EmbeddingModule):
    """The base class for static vectors: a learned vector for unknown words, and corrections.

    The vectors themselves do not change. With `correction_rows`, training learns a correction that
    is added to a word's vector. Corrections are hashed by the word's lower-cased form, so they need
    no vocabulary. They are initialised with zero, and are zero for words that did not occur in
    training, except for false positives of the filter, see `HashModule`. Weight decay pulls a
    correction to zero, and thus the vector to the static one. Fine-tuning the whole table would
    pull the vectors themselves to zero.
    """

    def __init__(self, width: int, correction_rows: int) -> None:
        """Allocate the learned parameters.

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
        """Fill the rows of words without a vector, and add the corrections.

        vectors (Tensor): static vectors, (n_words, width).
        known (Tensor): whether each word has a vector, bool (n_words, 1).
        forms (Tensor): hash of each word's lower-cased form, int64 (n_words, 1).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        filled = torch.where(known, vectors, self.unknown)
        return filled if self.correction is None else filled + self.correction(forms)


class VectorsModule(StaticVectors, kind="vectors"):
    """Return static vectors, with a learned vector for words that have none."""

    def __init__(self, width: int, correction_rows: int = 0) -> None:
        """Allocate the learned parameters.

        width (int): width of the static vectors; 0 if the vocab has none.
        correction_rows (int): see `StaticVectors`.
        """
        super().__init__(width, correction_rows)

    def forward(self, vectors: Tensor, forms: Tensor) -> Tensor:
        """Fill the rows of words without a vector.

        vectors (Tensor): static vectors, (n_words, width); zeros for a word without one.
        forms (Tensor): hash of each word's lower-cased form, int64 (n_words, 1).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        return self.finish(vectors, vectors.any(1, keepdim=True), forms)
