"""The base class of character embeddings."""

from typing import Any

import numpy as np
from spacy.vocab import Vocab

from ..errors import ConfigError
from .base import UniqueWords, WordEmbedding

# More would only take memory: there are this many code points, and words are shorter.
_MAX_ROWS = 0x110000
_MAX_LENGTH = 10_000
# Row 0 of the character table is padding. Rows 1 and 2 mark the start and the end of a word.
_CHARACTER_OFFSET = 3


class CharacterEmbedding(WordEmbedding):
    """The base class of character embeddings."""

    def __init__(self, *, width: int, rows: int, max_length: int, fold_digits: bool) -> None:
        """Set and check the settings.

        width (int): width of a character's vector.
        rows (int): size of the character table. Each code point below `rows` has its own row, the
            others share these rows. 2048 rows distinguish the characters of the Latin, Greek,
            Cyrillic, Armenian, Hebrew and Arabic scripts.
        max_length (int): maximum number of characters per word. Of a longer word, the first and
            the last half of this number are used.
        fold_digits (bool): replace every digit by 0.
        RAISES (ConfigError): if a setting is out of range.
        """
        if width < 1 or not 1 <= rows <= _MAX_ROWS or not 2 <= max_length <= _MAX_LENGTH:
            raise ConfigError(
                f"characters: 'width' must be positive, 'rows' from 1 to {_MAX_ROWS} and "
                f"'max_length' from 2 to {_MAX_LENGTH}; got width = {width}, rows = {rows}, "
                f"max_length = {max_length}"
            )
        self.width = width
        self.rows = rows
        self.max_length = max_length
        self.fold_digits = fold_digits

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """Return the arguments that all character modules share.

        vocab (Vocab): the vocab.
        RETURNS (dict[str, Any]): the size of the table, and the width of its rows.
        """
        return {"rows": self.rows + _CHARACTER_OFFSET, "width": self.width}

    def read(self, words: UniqueWords) -> np.ndarray:
        """Read the characters of each word, with marks for its start and end.

        words (UniqueWords): the words of a batch.
        RETURNS (ndarray): rows of the character table, padded with 0, int64
            (n_words, max_length + 2).
        """
        strings = words.folded.strings if self.fold_digits else words.strings
        texts = [self._shorten(text) for text in strings]
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        code_points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        characters = np.zeros((len(texts), self.max_length + 2), dtype=np.int64)
        word = np.repeat(np.arange(len(texts)), lengths)
        position = np.arange(len(word)) - np.repeat(lengths.cumsum() - lengths, lengths)
        characters[:, 0] = 1
        characters[word, position + 1] = code_points % self.rows + _CHARACTER_OFFSET
        characters[np.arange(len(texts)), lengths + 1] = 2
        return characters

    def _shorten(self, text: str) -> str:
        if len(text) <= self.max_length:
            return text
        half = self.max_length // 2
        return text[:half] + text[len(text) - (self.max_length - half) :]
