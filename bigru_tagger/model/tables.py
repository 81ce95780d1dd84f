"""Embeddings of what lies in tables of its own: vectors, clusters and phrases.

A table is read when the network is built, and saved with it: a trained pipeline needs neither the
file nor the package that the table came from.
"""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from spacy.vocab import Vocab

from .features import WordEmbedding, Words, check_correction_rows
from .resources import (
    ClusterTable,
    MissingResourceError,
    PhraseTable,
    VectorTable,
    fold,
    phrase_hashes,
    read_clusters,
    read_phrases,
    read_vectors,
)

_log = logging.getLogger(__name__)
_Table = TypeVar("_Table", VectorTable, ClusterTable, PhraseTable)


class TableEmbedding(WordEmbedding, Generic[_Table]):
    """An embedding with a table that is read when the network is built."""

    _table: _Table | None = None

    @abstractmethod
    def _read_table(self, vocab: Vocab) -> _Table:
        """Read the table."""

    def table(self, vocab: Vocab) -> _Table:
        """Give the table, which stays in memory until `tensors` has handed it on.

        vocab (Vocab): the vocab.
        RETURNS (NamedTuple): the table.
        RAISES (ResourceError): if it cannot be read.
        """
        if self._table is None:
            self._table = self._read_table(vocab)
            _log.info("%s: %s entries", type(self).__name__, f"{len(self._table.keys):,}")
        return self._table

    def tensors(self, vocab: Vocab) -> dict[str, np.ndarray]:
        """See `WordEmbedding.tensors`."""
        table = self.table(vocab)
        self._table = None
        keys = table.keys.view(np.int64)  # torch sorts and searches signed numbers alone
        order = np.argsort(keys)
        return {"keys": keys[order], **self._buffers(table, order)}

    @abstractmethod
    def _buffers(self, table: _Table, order: np.ndarray) -> dict[str, np.ndarray]:
        """Give the values of the module's buffers beside the keys, which stand in this order."""


class WordTable(TableEmbedding[_Table]):
    """A table of words, which are looked up by their text."""

    def read(self, words: Words) -> np.ndarray:
        """Give the hashes under which the table may list the words.

        words (Words): the words of a batch.
        RETURNS (ndarray): int64 (n_words, 4), see `Words.candidates`.
        """
        return words.candidates.view(np.int64)


class VectorFile(WordTable[VectorTable]):
    """Vectors of a file or package, beside those of the vocab."""

    def __init__(self, source: str, correction_rows: int) -> None:
        """Check the settings.

        source (str): see `bigru_tagger.model.resources.read_vectors`.
        correction_rows (int): size of the table of corrections, see
            `bigru_tagger.network.embed.StaticEmbedding`; 0 for none.
        RAISES (ValueError): if the number does not fit.
        """
        self.source = source
        self.correction_rows = check_correction_rows("VectorFileEmbed", correction_rows)

    def _read_table(self, vocab: Vocab) -> VectorTable:
        return read_vectors(self.source)

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """See `WordEmbedding.network_spec`."""
        vectors = self.table(vocab).vectors
        n_words, width = vectors.shape
        return {
            "kind": "vector_table",
            "n_words": n_words,
            "width": width,
            "half": vectors.dtype == np.float16,
            "correction_rows": self.correction_rows,
        }

    def _buffers(self, table: VectorTable, order: np.ndarray) -> dict[str, np.ndarray]:
        return {"table": table.vectors[order]}


class WordClusters(WordTable[ClusterTable]):
    """Clusters of words: prefixes of the word's path in a binary tree."""

    def __init__(
        self, source: str, prefixes: Sequence[int], width: int, *, required: bool = True
    ) -> None:
        """Check the settings.

        source (str): see `bigru_tagger.model.resources.read_clusters`.
        prefixes (Sequence[int]): lengths of the prefixes, in bits: short ones for coarse classes.
        width (int): width of each prefix's vector.
        required (bool): raise an error if there are no such clusters; otherwise the network goes
            without them.
        RAISES (ValueError): if a number does not fit.
        """
        if not prefixes or not all(1 <= bits <= 62 for bits in prefixes) or width < 1:
            raise ValueError(
                "ClusterEmbed: 'prefixes' has to list lengths from 1 to 62 bits, and 'width' has "
                f"to be positive; got prefixes = {list(prefixes)}, width = {width}"
            )
        self.source = source
        self.prefixes = list(prefixes)
        self.width = width
        self.required = required

    def _read_table(self, vocab: Vocab) -> ClusterTable:
        return read_clusters(self.source, vocab)

    def _number_prefixes(self, paths: np.ndarray) -> tuple[int, np.ndarray]:
        # The first row of each prefix's part of the table is for words without a cluster.
        n_rows = 0
        columns = []
        for bits in self.prefixes:
            distinct, inverse = np.unique(paths & ((1 << bits) - 1), return_inverse=True)
            columns.append(inverse + n_rows + 1)
            n_rows += len(distinct) + 1
        return n_rows, np.stack(columns, 1)

    def network_spec(self, vocab: Vocab) -> dict[str, Any] | None:
        """See `WordEmbedding.network_spec`."""
        try:
            table = self.table(vocab)
        except MissingResourceError:
            if self.required:
                raise
            _log.info("no word clusters %r for the language %r", self.source, vocab.lang)
            return None
        clusters = np.unique(table.paths)
        n_rows, _ = self._number_prefixes(clusters)
        return {
            "kind": "clusters",
            "n_words": len(table.keys),
            "n_clusters": len(clusters),
            "n_prefixes": len(self.prefixes),
            "n_rows": n_rows,
            "width": self.width,
        }

    def _buffers(self, table: ClusterTable, order: np.ndarray) -> dict[str, np.ndarray]:
        clusters, cluster_of = np.unique(table.paths, return_inverse=True)
        _, rows = self._number_prefixes(clusters)
        unknown = rows.min(0, keepdims=True) - 1
        return {
            # The last cluster is that of words without one.
            "clusters": cluster_of[order].astype(np.int32),
            "rows": np.concatenate([rows, unknown]),
        }


class Gazetteer(TableEmbedding[PhraseTable]):
    """Matches of phrases on lists, such as a dictionary of names."""

    def __init__(
        self, source: str | Mapping[str, str | Sequence[str]], width: int, max_words: int
    ) -> None:
        """Check the settings.

        source (Union[str, Dict[str, Union[str, List[str]]]]): see
            `bigru_tagger.model.resources.read_phrases`.
        width (int): width of a token's vector.
        max_words (int): tokens of a text that a phrase may take up.
        RAISES (ValueError): if a number does not fit.
        """
        if width < 1 or max_words < 1:
            raise ValueError(
                "GazetteerEmbed: 'width' and 'max_words' have to be positive; got width = "
                f"{width}, max_words = {max_words}"
            )
        self.source = source
        self.width = width
        self.max_words = max_words

    def _read_table(self, vocab: Vocab) -> PhraseTable:
        return read_phrases(self.source)

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """See `WordEmbedding.network_spec`."""
        table = self.table(vocab)
        return {
            "kind": "gazetteer",
            "lists": table.names,
            "n_phrases": len(table.keys),
            "width": self.width,
            "max_words": self.max_words,
        }

    def _buffers(self, table: PhraseTable, order: np.ndarray) -> dict[str, np.ndarray]:
        return {"lists": table.lists[order]}

    def read(self, words: Words) -> np.ndarray:
        """Hash the words so that the hash of a phrase follows from those of its words.

        words (Words): the words of a batch.
        RETURNS (ndarray): hash and power of each word, int64 (n_words, 2), see
            `bigru_tagger.model.resources.phrase_hashes`.
        """
        return phrase_hashes([fold(text) for text in words.strings]).view(np.int64)
