"""The base class of embeddings that look words or phrases up in a table of a file or package."""

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
    """An embedding with a table.

    The table is read when the network is built, and saved with it: a trained pipeline needs
    neither the file nor the package that the table came from.
    """

    _table: _Table | None = None

    @abstractmethod
    def _read_table(self, vocab: Vocab) -> _Table:
        """Read the table."""

    def table(self, vocab: Vocab) -> _Table:
        """Return the table, which stays in memory until `tensors` is called.

        vocab (Vocab): the vocab.
        RETURNS (NamedTuple): the table.
        RAISES (ResourceError): if it cannot be read.
        """
        if self._table is None:
            self._table = self._read_table(vocab)
            _log.info("%s: %s entries", type(self).__name__, f"{len(self._table.keys):,}")
        return self._table

    def tensors(self, vocab: Vocab) -> dict[str, np.ndarray]:  # noqa: D102
        table = self.table(vocab)
        self._table = None
        keys = table.keys.view(np.int64)  # torch sorts and searches signed numbers alone
        order = np.argsort(keys)
        return {"keys": keys[order], **self._buffers(table, order)}

    @abstractmethod
    def _buffers(self, table: _Table, order: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of the module's buffers besides the keys, which have this order."""


class WordTableEmbedding(TableEmbedding[_Table]):
    """An embedding with a table of words, which are looked up by their text."""

    def read(self, words: UniqueWords) -> np.ndarray:
        """Hash the forms under which the table may list the words.

        words (UniqueWords): the words of a batch.
        RETURNS (ndarray): int64 (n_words, 4), see `UniqueWords.candidates`.
        """
        return words.candidates.view(np.int64)
