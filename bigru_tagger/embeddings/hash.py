"""Hash embeddings of lexical attributes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.attrs import ID, IDS
from spacy.util import registry
from spacy.vocab import Vocab

from ..errors import ConfigError
from .base import UniqueWords, WordEmbedding

# The attributes of a lexeme, in addition to flags, whose symbols are below 64. spaCy's other
# attributes, such as POS, depend on the context.
_LEXICAL = ("ORTH", "LOWER", "NORM", "SHAPE", "PREFIX", "SUFFIX", "LENGTH", "LANG")


@registry.misc("bigru_tagger.HashEmbed.v1")
def HashEmbed(  # noqa: N802
    *, attrs: list[str], rows: list[int], width: int, unknown_rate: float, fold_digits: bool
) -> "HashEmbedding":
    """Embed lexical attributes by hashing, without a vocabulary.

    A value's vector is the sum of four rows of a table, selected by hashes (Svenstrup et al. 2017,
    arXiv 1709.03933). Values that did not occur in training share one learned vector.

    attrs (list[str]): names of lexical attributes, such as NORM, PREFIX or SHAPE.
    rows (list[int]): size of the table of each attribute.
    width (int): width of each attribute's vector.
    unknown_rate (float): probability that a value is treated as unknown in training, which trains
        the vector for unknown values.
    fold_digits (bool): replace every digit by 0, so that numbers of one format are equal.
    RETURNS (HashEmbedding): a value for the `embed` section of an architecture.
    RAISES (ValueError): if a name is not a lexical attribute, or a number is out of range.
    """
    return HashEmbedding(attrs, rows, width, unknown_rate=unknown_rate, fold_digits=fold_digits)


class HashEmbedding(WordEmbedding):
    """Hash embeddings of lexical attributes, with tables of a fixed size."""

    def __init__(
        self,
        attrs: Sequence[str],
        rows: Sequence[int],
        width: int,
        *,
        unknown_rate: float,
        fold_digits: bool,
    ) -> None:
        """Set and check the settings. For arguments and errors see `HashEmbed`."""
        unknown = [attr for attr in attrs if attr not in _LEXICAL and not 0 < IDS.get(attr, 0) < ID]
        if unknown or not attrs:
            raise ConfigError(
                f"HashEmbed: 'attrs' must list lexical attributes, such as NORM, PREFIX, SUFFIX "
                f"or SHAPE; got {list(attrs)}"
                + (f", where {unknown} are not lexical attributes" if unknown else "")
            )
        if len(attrs) != len(rows) or min(rows) < 1 or width < 1:
            raise ConfigError(
                f"HashEmbed: 'rows' must list one positive table size for each of {list(attrs)}, "
                f"and 'width' must be positive; got rows = {list(rows)}, width = {width}"
            )
        if not 0.0 <= unknown_rate < 1.0:
            raise ConfigError(
                f"HashEmbed: 'unknown_rate' must be at least 0 and below 1; got {unknown_rate}"
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
        RETURNS (ndarray): values of the attributes, int64 (n_words, n_attrs).
        """
        source = words.folded if self.fold_digits else words
        return source.attributes(self.attrs).view(np.int64)
