"""Matches of phrases in the text."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..layout import Layout
from .base import EmbeddingModule
from .lookup import look_up


class GazetteerModule(EmbeddingModule, kind="gazetteer"):
    """A linear layer over marks of the phrases in the text (Ratinov and Roth 2009).

    For each list there are four marks: a token begins a phrase, is inside one, ends one, or is a
    single-token phrase (Chiu and Nichols 2016, arXiv 1511.08308). A phrase that overlaps a longer
    one of the same list is ignored.
    """

    reads = "sequences"
    keys: Tensor
    lists: Tensor

    def __init__(self, lists: Sequence[str], n_phrases: int, width: int, max_words: int) -> None:
        """Allocate the tables.

        lists (Sequence[str]): names of the lists.
        n_phrases (int): number of phrases on all lists.
        width (int): width of a token's vector.
        max_words (int): the largest number of tokens in a match.
        """
        super().__init__()
        self.register_buffer("keys", torch.zeros(n_phrases, dtype=torch.int64))
        self.register_buffer("lists", torch.zeros(n_phrases, dtype=torch.int64))
        self.n_lists = len(lists)
        self.max_words = max_words
        self.linear = nn.Linear(4 * len(lists), width)
        self.width = width

    def forward(self, hashes: Tensor, layout: Layout) -> Tensor:
        """Embed tokens by the phrases that they are part of.

        hashes (Tensor): hash and power of each token, int64 (n_tokens, 2).
        layout (Layout): the tokens' sequences.
        RETURNS (Tensor): vectors, (n_tokens, width).
        """
        marks = self.mark(hashes, layout)
        vectors: Tensor = self.linear(marks.flatten(1).to(self.linear.weight.dtype))
        return vectors

    def mark(self, hashes: Tensor, layout: Layout) -> Tensor:
        """Find the phrases.

        hashes (Tensor): hash and power of each token, int64 (n_tokens, 2).
        layout (Layout): the tokens' sequences.
        RETURNS (Tensor): whether the token begins, is inside, ends, or is a phrase of each list,
            bool (n_tokens, n_lists, 4).
        """
        marks = torch.zeros(len(hashes), self.n_lists, 4, dtype=torch.bool, device=hashes.device)
        covered = torch.zeros(len(hashes), self.n_lists, dtype=torch.bool, device=hashes.device)
        bits = torch.arange(self.n_lists, device=hashes.device)
        phrases = list(self._phrases(hashes, layout))
        for n_words, starts, found in reversed(phrases):
            on_list = ((self.lists[found].unsqueeze(1) >> bits) & 1).bool()  # (n_found, n_lists)
            span = starts.unsqueeze(1) + torch.arange(n_words, device=hashes.device)
            on_list &= ~covered[span].any(1)
            if n_words == 1:
                marks[starts, :, 3] |= on_list
            else:
                marks[starts, :, 0] |= on_list
                for inside in span.T[1:-1]:
                    marks[inside, :, 1] |= on_list
                marks[span[:, -1], :, 2] |= on_list
            for token in span.T:
                covered[token] |= on_list
        return marks

    def _phrases(self, hashes: Tensor, layout: Layout) -> Iterator[tuple[int, Tensor, Tensor]]:
        # For each number of words, the first token of each phrase and the phrase's row.
        grams = hashes[:, 0]
        # White space can be a token. A phrase may contain it, but not begin or end with it.
        visible = hashes[:, 1] != 1
        for n_words in range(1, min(self.max_words, len(hashes)) + 1):
            if n_words > 1:
                last = hashes[n_words - 1 :]
                grams = grams[:-1] * last[:, 1] + last[:, 0]
            whole = layout.sequence[: len(grams)] == layout.sequence[n_words - 1 :]
            whole &= visible[: len(grams)] & visible[n_words - 1 :]
            rows, known = look_up(self.keys, grams.unsqueeze(1))
            starts = torch.nonzero(whole & known).squeeze(1)
            if len(starts):
                yield n_words, starts, rows[starts]
