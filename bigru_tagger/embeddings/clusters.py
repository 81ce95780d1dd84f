"""Embeddings of hierarchical word clusters, such as Brown clusters."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.util import registry
from spacy.vocab import Vocab

from ..errors import ConfigError
from .base import Embedding
from .resources import ClusterTable, MissingResourceError, read_clusters
from .tables import WordTableEmbedding

_log = logging.getLogger(__name__)


@registry.misc("bigru_tagger.ClusterEmbed.v1")
def ClusterEmbed(  # noqa: N802
    source: str | None, prefixes: list[int], width: int
) -> Embedding:
    """Embed words by hierarchical clusters, such as Brown clusters.

    A cluster is a path in a binary tree. Prefixes of the path are embedded separately (Miller et
    al. 2004).

    source (str | None): "lexeme_cluster" for the table in the package `spacy-lookups-data`, or a
        file of bit paths; see `bigru_tagger.embeddings.resources.read_clusters`. The clusters are
        saved in the trained model, which does not need the package or file. null for no clusters.
    prefixes (list[int]): lengths of the prefixes in bits. Short prefixes are coarse classes.
    width (int): width of each prefix's vector.
    RETURNS (Embedding): a value for the `embed` section of an architecture.
    RAISES (ValueError): if a setting is out of range.
    """
    return Embedding() if source is None else ClusterEmbedding(source, prefixes, width)


class ClusterEmbedding(WordTableEmbedding[ClusterTable]):
    """Embeddings of prefixes of each word's path in a binary tree of clusters."""

    def __init__(
        self, source: str, prefixes: Sequence[int], width: int, *, required: bool = True
    ) -> None:
        """Set and check the settings. For other arguments and errors see `ClusterEmbed`.

        required (bool): raise an error if the clusters do not exist. Otherwise the embedding is
            left out.
        """
        if not prefixes or not all(1 <= bits <= 62 for bits in prefixes) or width < 1:
            raise ConfigError(
                "ClusterEmbed: 'prefixes' must list lengths from 1 to 62 bits, and 'width' must "
                f"be positive; got prefixes = {list(prefixes)}, width = {width}"
            )
        self.source = source
        self.prefixes = list(prefixes)
        self.width = width
        self.required = required

    def _read_table(self, vocab: Vocab) -> ClusterTable:
        return read_clusters(self.source, vocab)

    def _number_prefixes(self, paths: np.ndarray) -> tuple[int, np.ndarray]:
        # In the rows of each prefix length, the first is for words without a cluster.
        n_rows = 0
        columns = []
        for bits in self.prefixes:
            distinct, inverse = np.unique(paths & ((1 << bits) - 1), return_inverse=True)
            columns.append(inverse + n_rows + 1)
            n_rows += len(distinct) + 1
        return n_rows, np.stack(columns, 1)

    def network_spec(self, vocab: Vocab) -> dict[str, Any] | None:  # noqa: D102
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
            # The last row is for words without a cluster.
            "clusters": cluster_of[order].astype(np.int32),
            "rows": np.concatenate([rows, unknown]),
        }
