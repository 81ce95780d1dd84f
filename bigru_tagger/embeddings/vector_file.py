"""Word vectors from a file or package, in addition to those of the vocab."""

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
    """Embed words by vectors from a file or package, in addition to those of the vocab.

    A word is looked up unchanged, in lower case, capitalised, and in lower case with every digit
    replaced by 0. The first vector found is used. Words without a vector share a learned one.

    source (str | None): a text file in the format of GloVe or word2vec, a `.npy` file with a list
        of words in the same folder, or a folder or installed package that contains one; see
        `bigru_tagger.embeddings.resources.read_vectors`. The vectors are saved in the trained
        model, which does not need the file. null for no vectors.
    correction_rows (int): see `VectorsEmbed`.
    RETURNS (Embedding): a value for the `embed` section of an architecture.
    RAISES (ValueError): if `correction_rows` is negative.
    """
    return Embedding() if source is None else VectorFileEmbedding(source, correction_rows)


class VectorFileEmbedding(WordTableEmbedding[VectorTable]):
    """Word vectors from a file or package."""

    def __init__(self, source: str, correction_rows: int) -> None:
        """Set and check the settings. For arguments and errors see `VectorFileEmbed`."""
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
