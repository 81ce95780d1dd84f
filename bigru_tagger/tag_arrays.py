"""Tags and spans as arrays of indices, for many texts at once.

Tags are indices into `schemes.biluo_tags` or `schemes.iob2_tags`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .schemes import label_of

BILUO_PARTS = {"B": 0, "I": 1, "L": 2, "U": 3, "E": 2, "S": 3}
"""The position of each prefix among the four tags of a label in `biluo_tags`. IOBES has E and S."""

BEGIN, INSIDE, LAST, UNIT = range(4)
"""The values of `BILUO_PARTS`."""

_N_PARTS = {"BILUO": 4, "IOB2": 2}
_PART = np.array([INSIDE, LAST, BEGIN, UNIT])  # index: 2 * is_first + is_last
_STARTS_SPAN = np.array([True, False, False, True])
_ENDS_SPAN = np.array([False, False, True, True])


class TagParts(NamedTuple):
    """The parts of BILUO tags, as arrays of shape (n_tags,).

    label (ndarray): an index of the label, equal for tags with the same label, int64.
    continues (ndarray): whether the span starts before the token: I and L, bool.
    opens (ndarray): whether the span continues after the token: B and I, bool.
    bounds (ndarray): whether the span starts or ends with the token: B, L and U, bool.
    """

    label: np.ndarray
    continues: np.ndarray
    opens: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, tags: Sequence[str]) -> "TagParts":
        """Split BILUO tags, in any order."""
        numbers: dict[str, int] = {}
        label = [numbers.setdefault(label_of(tag), len(numbers)) for tag in tags]
        flags = [[tag[0] in prefixes for tag in tags] for prefixes in ("IL", "BI", "BLU")]
        return cls(np.array(label), *np.array(flags))


class Spans(NamedTuple):
    """Spans that do not overlap, from left to right, as int64 arrays of shape (n_spans,).

    start (ndarray): index of the first token.
    end (ndarray): index after the last token.
    label (ndarray): index of the label.
    """

    start: np.ndarray
    end: np.ndarray
    label: np.ndarray

    @classmethod
    def read(cls, columns: np.ndarray, lengths: Iterable[int], scheme: str = "BILUO") -> "Spans":
        """Convert tags to spans. Invalid sequences follow conlleval's rules, see `to_iob2`.

        columns (ndarray): the index of each token's tag in `biluo_tags` or `iob2_tags`, -1 for
            unknown tags, int64 (n_tokens,).
        lengths (Iterable[int]): the number of tokens of each sequence. No span crosses the end of a
            sequence.
        scheme (str): "BILUO" or "IOB2".
        RETURNS (Spans): the spans.
        """
        label, part = np.divmod(columns - 1, _N_PARTS[scheme])
        inside = columns > 0
        opens = inside & ~_ENDS_SPAN[part]
        continues = inside & ~_STARTS_SPAN[part]
        continues[1:] &= opens[:-1] & (label[1:] == label[:-1])
        sizes = np.array([*lengths], dtype=np.int64)
        continues[(sizes.cumsum() - sizes)[sizes > 0]] = False
        start = np.flatnonzero(inside & ~continues)
        end = np.flatnonzero(inside & ~np.append(continues[1:], False)) + 1
        return cls(start, end, label[start])

    def write(self, n_tokens: int, scheme: str = "BILUO") -> np.ndarray:
        """Convert the spans to tags.

        n_tokens (int): the number of tokens.
        scheme (str): "BILUO" or "IOB2".
        RETURNS (ndarray): the index of each token's tag in `biluo_tags` or `iob2_tags`, int64
            (n_tokens,).
        """
        columns = np.zeros(n_tokens, dtype=np.int64)
        sizes = self.end - self.start
        span = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(span)) - (sizes.cumsum() - sizes)[span]
        first, last = within == 0, within == sizes[span] - 1
        part = _PART[2 * first + last] if scheme == "BILUO" else np.where(first, BEGIN, INSIDE)
        columns[self.start[span] + within] = 1 + _N_PARTS[scheme] * self.label[span] + part
        return columns
