"""The base class of embeddings with a table that is loaded from a file or package."""

import logging
from abc import abstractmethod
from typing import Generic, TypeVar

import numpy as np
from spacy.vocab import Vocab

from .base import UniqueWords, WordEmbedding
from .resources import ClusterTable, PhraseTable, VectorTable

_log = logging.getLogger(__name__)
_Table = TypeVar("_Table", VectorTable, ClusterTable, PhraseTable)


class TableEmbedding(WordEmbedding, Generic[_Table]):
    """An embedding with a table of words or phrases.

    The table is read when the network is built, and saved with it. A trained pipeline does not need
    the file or package of the table.
    """

    _table: _Table | None = None

    @abstractmethod
    def _read_table(self, vocab: Vocab) -> _Table:
        """Read the table."""

    def table(self, vocab: Vocab) -> _Table:
        """Return the table. It is read once, and kept in memory until `tensors` is called.

        vocab (Vocab): the vocab.
        RETURNS (VectorTable | ClusterTable | PhraseTable): the table.
        RAISES (ResourceError): if it cannot be read.
        """
        if self._table is None:
            self._table = self._read_table(vocab)
            _log.info("%s: %s entries", type(self).__name__, f"{len(self._table.keys):,}")
        return self._table

    def tensors(self, vocab: Vocab) -> dict[str, np.ndarray]:  # noqa: D102
        table = self.table(vocab)
        self._table = None
        keys = table.keys.view(np.int64)  # torch can only search signed numbers
        order = np.argsort(keys)
        return {"keys": keys[order], **self._buffers(table, order)}

    @abstractmethod
    def _buffers(self, table: _Table, order: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of the other buffers, in the order of the sorted keys."""


class WordTableEmbedding(TableEmbedding[_Table]):
    """An embedding with a table of words."""

    def read(self, words: UniqueWords) -> np.ndarray:
        """Return hashes to look up the words.

        words (UniqueWords): the words of a batch.
        RETURNS (ndarray): int64 (n_words, 4), see `UniqueWords.candidates`.
        """
        return words.candidates.view(np.int64)
