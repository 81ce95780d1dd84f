"""Matches of phrases on lists, such as a dictionary of names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from spacy.util import registry
from spacy.vocab import Vocab

from .base import Embedding, UniqueWords
from .resources import PhraseTable, fold, phrase_hashes, read_phrases
from .tables import TableEmbedding


@registry.misc("bigru_tagger.GazetteerEmbed.v1")
def GazetteerEmbed(  # noqa: N802
    source: str | dict[str, str | list[str]] | None, width: int, max_words: int
) -> Embedding:
    """Embed tokens by the phrases of given lists that they are part of, such as known names.

    source (str | dict[str, str | list[str]] | None): a folder whose `.txt` files hold one phrase
        per line, or the file or files of each list by the list's name; see
        `bigru_tagger.embeddings.resources.read_phrases`. The phrases become part of the trained
        model, which does not need the files. Null adds nothing.
    width (int): width of a token's vector.
    max_words (int): the largest number of tokens in a match.
    RETURNS (Embedding): for the `embed` block of an architecture.
    RAISES (ValueError): if a number does not fit.
    """
    return Embedding() if source is None else GazetteerEmbedding(source, width, max_words)


class GazetteerEmbedding(TableEmbedding[PhraseTable]):
    """Reads hashes of words, which the network combines to hashes of phrases."""

    def __init__(
        self, source: str | Mapping[str, str | Sequence[str]], width: int, max_words: int
    ) -> None:
        """Check the settings; for arguments and errors see `GazetteerEmbed`."""
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
        """Hash the words so that the hash of a phrase follows from those of its words.

        words (UniqueWords): the words of a batch.
        RETURNS (ndarray): hash and power of each word, int64 (n_words, 2), see
            `bigru_tagger.embeddings.resources.phrase_hashes`.
        """
        return phrase_hashes([fold(text) for text in words.strings]).view(np.int64)
