"""Word vectors of a file or package, beside those of the vocab."""

from typing import Any

import numpy as np
from spacy.util import registry
from spacy.vocab import Vocab

from .base import Embedding
from .resources import VectorTable, read_vectors
from .tables import WordTableEmbedding
from .vectors import check_correction_rows


@registry.misc("bigru_tagger.VectorFileEmbed.v1")
def VectorFileEmbed(source: str | None, correction_rows: int) -> Embedding:  # noqa: N802
    """Embed words by vectors from a file or package, beside those of the vocab.

    source (str | None): a text file of GloVe or word2vec, a `.npy` file with its words beside
        it, or a folder or installed package that holds one; see
        `bigru_tagger.embeddings.resources.read_vectors`.
        Words are looked up as they are, in lower case, capitalised, and with digits read as 0.
        The vectors become part of the trained model, which does not need the file. Null adds
        nothing.
    correction_rows (int): see `VectorsEmbed`.
    RETURNS (Embedding): for the `embed` block of an architecture.
    RAISES (ValueError): if `correction_rows` is negative.
    """
    return Embedding() if source is None else VectorFileEmbedding(source, correction_rows)


class VectorFileEmbedding(WordTableEmbedding[VectorTable]):
    """Looks words up among the vectors of a file or package."""

    def __init__(self, source: str, correction_rows: int) -> None:
        """Check the settings; for arguments and errors see `VectorFileEmbed`."""
        self.source = source
        self.correction_rows = check_correction_rows("VectorFileEmbed", correction_rows)

    def _read_table(self, vocab: Vocab) -> VectorTable:
        return read_vectors(self.source)

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
        vectors = self.table(vocab).vectors
        n_words, width = vectors.shape
        return {
            "kind": "vector_file",
            "n_words": n_words,
            "width": width,
            "half": vectors.dtype == np.float16,
            "correction_rows": self.correction_rows,
        }

    def _buffers(self, table: VectorTable, order: np.ndarray) -> dict[str, np.ndarray]:
        return {"table": table.vectors[order]}
