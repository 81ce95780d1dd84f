"""Hashed lexical attributes: no vocabulary is kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.attrs import ID, IDS
from spacy.util import registry
from spacy.vocab import Vocab

from .base import UniqueWords, WordEmbedding

# What a lexeme has: flags, whose symbols are below 64, and these. The other attributes that
# spaCy names, such as POS, belong to a token in its Doc.
_LEXICAL = ("ORTH", "LOWER", "NORM", "SHAPE", "PREFIX", "SUFFIX", "LENGTH", "LANG")


@registry.misc("bigru_tagger.HashEmbed.v1")
def HashEmbed(  # noqa: N802
    *, attrs: list[str], rows: list[int], width: int, unknown_rate: float, fold_digits: bool
) -> "HashEmbedding":
    """Embed hashed lexical attributes; no vocabulary is kept.

    attrs (list[str]): names of lexical attributes, such as NORM, PREFIX or SHAPE.
    rows (list[int]): the size of each attribute's table.
    width (int): width of each attribute's vector.
    unknown_rate (float): probability that an attribute counts as unknown in training, so that
        there is a vector for values that training never saw.
    fold_digits (bool): read every digit as 0, so that numbers of a kind are one word.
    RETURNS (HashEmbedding): for the `embed` block of an architecture.
    RAISES (ValueError): if a name is not that of a lexical attribute, or a number does not fit.
    """
    return HashEmbedding(attrs, rows, width, unknown_rate=unknown_rate, fold_digits=fold_digits)


class HashEmbedding(WordEmbedding):
    """Reads lexical attributes, which are hashed into tables of a fixed size."""

    def __init__(
        self,
        attrs: Sequence[str],
        rows: Sequence[int],
        width: int,
        *,
        unknown_rate: float,
        fold_digits: bool,
    ) -> None:
        """Check the settings; for arguments and errors see `HashEmbed`."""
        unknown = [attr for attr in attrs if attr not in _LEXICAL and not 0 < IDS.get(attr, 0) < ID]
        if unknown or not attrs:
            raise ValueError(
                f"HashEmbed: 'attrs' has to name lexical attributes, such as NORM, PREFIX, SUFFIX "
                f"or SHAPE; got {list(attrs)}"
                + (f", of which {unknown} are none" if unknown else "")
            )
        if len(attrs) != len(rows) or min(rows) < 1 or width < 1:
            raise ValueError(
                f"HashEmbed: 'rows' has to give one positive table size for each of {list(attrs)}, "
                f"and 'width' has to be positive; got rows = {list(rows)}, width = {width}"
            )
        if not 0.0 <= unknown_rate < 1.0:
            raise ValueError(
                f"HashEmbed: 'unknown_rate' has to be at least 0 and below 1; got {unknown_rate}"
            )
        self.attrs = [IDS[attr] for attr in attrs]
        self.rows = list(rows)
        self.width = width
        self.unknown_rate = unknown_rate
        self.fold_digits = fold_digits

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
        return {
            "kind": "hash",
            "rows": self.rows,
            "width": self.width,
            "unknown_rate": self.unknown_rate,
        }

    def read(self, words: UniqueWords) -> np.ndarray:
        """Read the attributes.

        words (UniqueWords): the words of a batch.
        RETURNS (ndarray): their values, which are hashes already, int64 (n_words, n_attrs).
        """
        source = words.folded if self.fold_digits else words
        return source.attributes(self.attrs).view(np.int64)
