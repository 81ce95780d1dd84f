"""Matches of phrases in the text."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..storage import Weights
from .base import ArrayEmbedding, register
from .lookup import look_up, signed


@register("gazetteer")
class GazetteerArrays(ArrayEmbedding):
    """Phrases in the text, see `bigru_tagger.network.embeddings.gazetteer.GazetteerModule`."""

    reads = "sequences"

    def __init__(
        self, weights: Weights, lists: Sequence[str], n_phrases: int, width: int, max_words: int
    ) -> None:
        """Take the parameters. See `GazetteerModule` for the others."""
        self._keys = weights.take("keys", n_phrases, dtype="int64")
        self._lists = weights.take("lists", n_phrases, dtype="int64")
        linear = weights.under("linear")
        self._weight = linear.take("weight", width, 4 * len(lists))
        self._bias = linear.take("bias", width)
        self._bits = np.arange(len(lists))
        self._max_words = max_words
        self.width = width

    def __call__(self, hashes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed tokens by the phrases that they are part of.

        hashes (ndarray): hash and power of each token, int64 (n_tokens, 2).
        lengths (ndarray): tokens of each sequence, int64 (n_sequences,).
        RETURNS (ndarray): vectors, float32 (n_tokens, width).
        """
        marks = self.mark(signed(hashes), lengths)
        vectors: np.ndarray = (
            marks.reshape(len(hashes), self._weight.shape[1]).astype(np.float32) @ self._weight.T
        )
        vectors += self._bias
        return vectors

    def mark(self, hashes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Find the phrases.

        hashes (ndarray): see `__call__`.
        lengths (ndarray): see `__call__`.
        RETURNS (ndarray): whether the token begins, is inside, ends, or is a phrase of each list,
            bool (n_tokens, n_lists, 4).
        """
        n_lists = len(self._bits)
        marks = np.zeros((len(hashes), n_lists, 4), dtype=bool)
        covered = np.zeros((len(hashes), n_lists), dtype=bool)
        for n_words, starts, found in reversed(list(self._phrases(hashes, lengths))):
            # A phrase that overlaps a longer one of the same list is ignored.
            on_list = ((self._lists[found][:, None] >> self._bits) & 1).astype(bool)
            spans = starts[:, None] + np.arange(n_words)
            on_list &= ~covered[spans].any(1)
            for place, tokens in enumerate(spans.T):
                mark = _place(place, n_words)
                marks[tokens, :, mark] |= on_list
                covered[tokens] |= on_list
        return marks

    def _phrases(
        self, hashes: np.ndarray, lengths: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        # For each number of words, the first token of each phrase and the phrase's row.
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        grams = hashes[:, 0]
        # White space can be a token. A phrase may contain it, but not begin or end with it.
        visible = hashes[:, 1] != 1
        for n_words in range(1, min(self._max_words, len(hashes)) + 1):
            if n_words > 1:
                last = hashes[n_words - 1 :]
                grams = grams[:-1] * last[:, 1] + last[:, 0]
            whole = sequence[: len(grams)] == sequence[n_words - 1 :]
            whole &= visible[: len(grams)] & visible[n_words - 1 :]
            rows, known = look_up(self._keys, grams[:, None])
            starts = np.flatnonzero(whole & known)
            if len(starts):
                yield n_words, starts, rows[starts]


def _place(place: int, n_words: int) -> int:
    # The mark of a word in a phrase: begin, inside, end, or single.
    if n_words == 1:
        return 3
    return 0 if place == 0 else 2 if place == n_words - 1 else 1
