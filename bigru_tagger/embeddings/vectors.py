"""Word vectors from the vocab."""

from typing import Any, cast

import numpy as np
from spacy.attrs import ORTH
from spacy.util import registry
from spacy.vectors import Mode, Vectors
from spacy.vocab import Vocab
from thinc.api import get_array_module

from ..errors import ConfigError
from .base import UniqueWords, WordEmbedding


@registry.misc("bigru_tagger.VectorsEmbed.v1")
def VectorsEmbed(fallback: bool, correction_rows: int) -> "VectorsEmbedding":  # noqa: N802
    """Embed words by the vectors of the vocab.

    Words without a vector share a learned one.

    fallback (bool): look up a word without a vector in lower case, capitalised, and in lower case
        with every digit replaced by 0.
    correction_rows (int): size of a hashed table of learned corrections, which are added to the
        vectors of words in the training data, by their lower-cased form. This fine-tunes the
        vectors, and L2 keeps them close to the static ones, see
        `bigru_tagger.network.embeddings.vectors.StaticVectors`. 0 for no corrections.
    RETURNS (VectorsEmbedding): a value for the `embed` section of an architecture. It has no effect
        if the vocab has no vectors.
    RAISES (ValueError): if `correction_rows` is negative.
    """
    return VectorsEmbedding(fallback, correction_rows)


class VectorsEmbedding(WordEmbedding):
    """Word vectors from the vocab."""

    def __init__(self, fallback: bool, correction_rows: int) -> None:
        """Set and check the settings. For arguments and errors see `VectorsEmbed`."""
        self.fallback = fallback
        self.correction_rows = check_correction_rows("VectorsEmbed", correction_rows)

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
        return {
            "kind": "vectors",
            "width": int(vocab.vectors_length),  # 0 without vectors
            "correction_rows": self.correction_rows,
        }

    def read(self, words: UniqueWords) -> tuple[np.ndarray, np.ndarray]:
        """Look up the words by the attribute that is the key of the vectors.

        words (UniqueWords): the words of a batch.
        RETURNS (tuple[ndarray, ndarray]): the vectors, float32 (n_words, width), zeros for a word
            without one, as a CuPy array if spaCy has the table on a GPU; and the hashes of the
            lower-cased forms, int64 (n_words, 1).
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
    # The row of each key, -1 for none. `Vectors.find` would move them to the device of the table.
    key2row = vectors.key2row
    return np.array([key2row.get(key, -1) for key in keys.tolist()], dtype=np.int64)


def check_correction_rows(embedding: str, rows: int) -> int:
    """Check the size of a table of corrections.

    embedding (str): the embedding's name, for the error message.
    rows (int): the size; 0 for no table.
    RETURNS (int): the size.
    RAISES (ValueError): if it is negative.
    """
    if rows < 0:
        raise ConfigError(f"{embedding}: 'correction_rows' must be at least 0; got {rows}")
    return rows
