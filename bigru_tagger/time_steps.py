"""The order of a batch's tokens by time step, to process each step of all sequences at once."""

import itertools
from collections.abc import Iterator

import numpy as np

from .lazy import cached_property


class TimeSteps:
    """The order of tokens by time step, as in `torch.nn.utils.rnn.PackedSequence`.

    Sequences are ordered by length, longest first, so the sequences that are still running at a
    step are a prefix of those of the previous step. A place is a position in this order.

    counts (ndarray): number of sequences at each step, descending, int64 (n_steps,).
    begins (ndarray): the first place of each step, int64 (n_steps,).
    sequence (ndarray): the sequence of the token at each place, int64 (n_tokens,).
    order (ndarray): the token at each place, int64 (n_tokens,).
    """

    def __init__(
        self, lengths: np.ndarray, *, first: np.ndarray | None = None, backward: bool = False
    ) -> None:
        """Order the tokens.

        lengths (ndarray): tokens of each sequence, zeros allowed, int64 (n_sequences,).
        first (ndarray | None): the first token of each sequence, int64 (n_sequences,); None if
            the sequences are concatenated.
        backward (bool): order each sequence from its last token to its first.
        """
        if len(lengths) == 1:  # one short text: as few operations as possible
            n_tokens = int(lengths[0])
            self.begins = np.arange(n_tokens)
            self.counts = np.ones_like(self.begins)
            self.sequence = np.zeros_like(self.begins)
            self.order = self.begins[::-1].copy() if backward else self.begins
            if first is not None:
                self.order = self.order + first[0]
            return
        if first is None:
            first = lengths.cumsum() - lengths
        by_length = np.argsort(-lengths, kind="stable")
        self.counts = running(lengths[by_length])
        self.begins = self.counts.cumsum() - self.counts
        steps = np.repeat(np.arange(len(self.counts)), self.counts)
        self.sequence = by_length[np.arange(len(steps)) - self.begins[steps]]
        if backward:
            steps = lengths[self.sequence] - 1 - steps
        self.order = first[self.sequence] + steps

    @cached_property
    def place(self) -> np.ndarray:
        """The place of each token, int64 (n_tokens,), if the sequences are concatenated."""
        place: np.ndarray = np.empty_like(self.order)
        place[self.order] = np.arange(len(self.order))
        return place

    @cached_property
    def slices(self) -> list[slice]:
        """The places of each step."""
        bounds = zip(self.begins.tolist(), self.counts.tolist(), strict=True)
        return [slice(begin, begin + count) for begin, count in bounds]

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Yield the places of each step after the first, preceded by those of the step before.

        Both have the same length: sequences that have ended are left out.
        """
        for before, here in itertools.pairwise(self.slices):
            yield slice(before.start, before.start + here.stop - here.start), here


def running(lengths: np.ndarray) -> np.ndarray:
    """Count the running sequences at each time step.

    lengths (ndarray): tokens of each sequence, descending, int64 (n_sequences,).
    RETURNS (ndarray): counts, int64 (n_steps,).
    """
    steps = np.arange(int(lengths.max(initial=0)))
    counts: np.ndarray = len(lengths) - np.searchsorted(lengths[::-1], steps, side="right")
    return counts


def lengths_from(starts: np.ndarray) -> np.ndarray:
    """Count the tokens from each start to the next one, or to the end.

    starts (ndarray): whether each token starts a sequence; the first one does, bool (n_tokens,).
    RETURNS (ndarray): tokens of each sequence, int64 (n_sequences,).
    """
    # `np.diff` and `np.append` take several times as long for short texts.
    begins = starts.nonzero()[0]
    lengths: np.ndarray = np.empty_like(begins)
    lengths[:-1] = begins[1:]
    lengths[-1:] = len(starts)
    lengths -= begins
    return lengths
