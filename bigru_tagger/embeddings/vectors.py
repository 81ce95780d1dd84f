"""The vectors of the vocab."""

from typing import Any, cast

import numpy as np
from spacy.attrs import ORTH
from spacy.util import registry
from spacy.vectors import Mode, Vectors
from spacy.vocab import Vocab
from thinc.api import get_array_module

from .base import UniqueWords, WordEmbedding


@registry.misc("bigru_tagger.VectorsEmbed.v1")
def VectorsEmbed(fallback: bool, correction_rows: int) -> "VectorsEmbedding":  # noqa: N802
    """Embed words by the vectors of the vocab.

    fallback (bool): look a word without a vector up in lower case, capitalised, and with its
        digits read as 0.
    correction_rows (int): size of a hashed table of corrections that training adds to the vectors
        of the words it sees, by their lower-cased form: fine-tuning that L2 pulls back to the
        static vectors, see `bigru_tagger.network.embeddings.vectors.StaticVectors`. 0 leaves the
        vectors as they are.
    RETURNS (VectorsEmbedding): for the `embed` block of an architecture; without vectors in the
        vocab it adds nothing.
    RAISES (ValueError): if `correction_rows` is negative.
    """
    return VectorsEmbedding(fallback, correction_rows)


class VectorsEmbedding(WordEmbedding):
    """Reads the vectors of the vocab."""

    def __init__(self, fallback: bool, correction_rows: int) -> None:
        """Check the settings; for arguments and errors see `VectorsEmbed`."""
        self.fallback = fallback
        self.correction_rows = check_correction_rows("VectorsEmbed", correction_rows)

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
        return {
            "kind": "vectors",
            "width": int(vocab.vectors_length),  # 0 without vectors
            "correction_rows": self.correction_rows,
        }

    def read(self, words: UniqueWords) -> tuple[np.ndarray, np.ndarray]:
        """Look the words up by the attribute that the vectors are keyed by.

        words (UniqueWords): the words of a batch.
        RETURNS (tuple[ndarray, ndarray]): their vectors, float32 (n_words, width), an array of
            CuPy where spaCy holds the table on a GPU, zeros for a word without one; and the hashes
            of their lower-cased forms, int64 (n_words, 1).
        """
        return self._look_up(words), words.forms[:, None]

    def _look_up(self, words: UniqueWords) -> np.ndarray:
        vectors = words.vocab.vectors
        attr = getattr(vectors, "attr", ORTH)
        keys = words.attributes([attr])[:, 0]
        if not isinstance(vectors, Vectors) or vectors.mode == Mode.floret:
            return cast(np.ndarray, vectors.get_batch(keys).astype("float32", copy=False))
        rows = _find_rows(vectors, keys)
        if self.fallback and attr == ORTH:
            for form in words.candidates.T[1:]:
                missing = rows < 0
                rows[missing] = _find_rows(vectors, form[missing])
        xp = get_array_module(vectors.data)
        found = xp.asarray(rows >= 0)
        table = xp.zeros((len(rows), vectors.shape[1]), dtype="float32")
        table[found] = vectors.data[xp.asarray(rows[rows >= 0])]
        return cast(np.ndarray, table)


def _find_rows(vectors: Vectors, keys: np.ndarray) -> np.ndarray:
    # The row of each key, -1 for none. `Vectors.find` would take them to the device of the table.
    key2row = vectors.key2row
    return np.array([key2row.get(key, -1) for key in keys.tolist()], dtype=np.int64)


def check_correction_rows(embedding: str, rows: int) -> int:
    """Check the size of a table of corrections.

    embedding (str): the embedding's name, for the message.
    rows (int): the size; 0 for no table.
    RETURNS (int): the size.
    RAISES (ValueError): if it is negative.
    """
    if rows < 0:
        raise ValueError(f"{embedding}: 'correction_rows' has to be at least 0; got {rows}")
    return rows
