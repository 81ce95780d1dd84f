"""Embeddings of gazetteer matches, such as names on a list."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from spacy.util import registry
from spacy.vocab import Vocab

from ..errors import ConfigError
from .base import Embedding, UniqueWords
from .resources import PhraseTable, fold, phrase_hashes, read_phrases
from .tables import TableEmbedding


@registry.misc("bigru_tagger.GazetteerEmbed.v1")
def GazetteerEmbed(  # noqa: N802
    source: str | dict[str, str | list[str]] | None, width: int, max_words: int
) -> Embedding:
    """Embed tokens by their matches with gazetteers: lists of phrases, such as known names.

    source (str | dict[str, str | list[str]] | None): a folder of `.txt` files with one phrase per
        line, where each file is a list; or a dictionary from the name of each list to its file or
        files. See `bigru_tagger.embeddings.resources.read_phrases`. The phrases are saved in the
        trained model, which does not need the files. null for no gazetteer.
    width (int): width of a token's vector.
    max_words (int): maximum number of tokens in a match.
    RETURNS (Embedding): a value for the `embed` section of an architecture.
    RAISES (ValueError): if a setting is out of range.
    """
    return Embedding() if source is None else GazetteerEmbedding(source, width, max_words)


class GazetteerEmbedding(TableEmbedding[PhraseTable]):
    """Embeddings of gazetteer matches."""

    def __init__(
        self, source: str | Mapping[str, str | Sequence[str]], width: int, max_words: int
    ) -> None:
        """Set and check the settings. For arguments and errors see `GazetteerEmbed`."""
        if width < 1 or max_words < 1:
            raise ConfigError(
                "GazetteerEmbed: 'width' and 'max_words' must be positive; got width = "
                f"{width}, max_words = {max_words}"
            )
        self.source = source
        self.width = width
        self.max_words = max_words

    def _read_table(self, vocab: Vocab) -> PhraseTable:
        return read_phrases(self.source)

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
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

    def read(self, words: UniqueWords) -> np.ndarray:
        """Hash the words, see `bigru_tagger.embeddings.resources.phrase_hashes`.

        words (UniqueWords): the words of a batch.
        RETURNS (ndarray): hash and power of each word, int64 (n_words, 2).
        """
        return phrase_hashes([fold(text) for text in words.strings]).view(np.int64)
