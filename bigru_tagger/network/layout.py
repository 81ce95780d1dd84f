"""The layout of a batch: the sequence and time step of each token, packed or padded."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..time_steps import TimeSteps, running

# Limits of a block of padded rows: cells, unless a single step has more; and steps, as cuDNN
# rejects very long rows. The padding is limited to a number of cells or a share of the tokens,
# whichever is larger.
_BLOCK_CELLS = 1 << 16
_BLOCK_STEPS = 1 << 10
_PADDED_CELLS = 1 << 12
_PADDED_SHARE = 0.25


class Layout:
    """The sequence and time step of each token of a batch, and the inverse indices.

    The tokens of all sequences are concatenated. There is no padding on a CPU. A GPU uses blocks
    of padded rows, since cuDNN is several times slower on packed sequences; see `plan_blocks`.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, device: torch.device) -> None:
        """Compute the layout.

        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        device (torch.device): device of the indices.
        """
        sizes = np.asarray(lengths, dtype=np.int64)
        self.lengths = sizes
        self.n_sequences = len(sizes)
        self._device = device
        self._packs: dict[bool, tuple[Tensor, Tensor, Tensor]] = {}
        self._pads: dict[bool, tuple[list[tuple[int, int]], Tensor, Tensor]] = {}
        # The sequence of each token, (n_tokens,).
        self.sequence = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)).to(device)

    def pack(self, backward: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Order the tokens for a PackedSequence, see `TimeSteps`.

        backward (bool): order each sequence from its last token to its first.
        RETURNS (tuple[Tensor, Tensor, Tensor]): the token at each place (n_tokens,), the place
            of each token (n_tokens,), and the number of sequences at each time step (n_steps,),
            always on the CPU.
        """
        if backward not in self._packs:  # all layers use the same
            steps = TimeSteps(self.lengths, backward=backward)
            order, place = (
                torch.from_numpy(array).to(self._device) for array in (steps.order, steps.place)
            )
            self._packs[backward] = (order, place, torch.from_numpy(steps.counts))
        return self._packs[backward]

    def pad(self, backward: bool) -> tuple[list[tuple[int, int]], Tensor, Tensor]:
        """Arrange the tokens in blocks of padded rows, longest sequence first.

        backward (bool): order each sequence from its last token to its first.
        RETURNS (tuple[list[tuple[int, int]], Tensor, Tensor]): the number of time steps and of
            rows of each block; the token of each cell, ordered by block and time step, int64
            (n_cells,), where padding has the first token of the batch; and the cell of each token,
            int64 (n_tokens,).
        """
        if backward not in self._pads:  # all layers use the same
            sizes = self.lengths
            by_length = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
            rank = np.zeros_like(sizes)
            rank[by_length] = np.arange(len(by_length))
            blocks = plan_blocks(sizes[by_length])
            widths = np.repeat(*np.array(blocks)[:, ::-1].T)  # of each time step
            begins = widths.cumsum() - widths
            n_cells = int(widths.sum())
            # Only small arrays are copied to the device. Those with one entry per token are
            # computed there.
            tables = (rank, begins, sizes, sizes.cumsum() - sizes)
            ranks, step_begins, lengths, firsts = (
                torch.from_numpy(table).to(self._device) for table in tables
            )
            tokens = torch.arange(len(self.sequence), device=self._device)
            steps = tokens - firsts[self.sequence]
            if backward:
                steps = lengths[self.sequence] - 1 - steps
            places = step_begins[steps] + ranks[self.sequence]
            cells = tokens.new_zeros(n_cells).index_copy_(0, places, tokens)
            self._pads[backward] = (blocks, cells, places)
        return self._pads[backward]


def plan_blocks(lengths: np.ndarray) -> list[tuple[int, int]]:
    """Divide sequences by time into blocks of rows that are padded to the same number of steps.

    A block contains the sequences that are still running at its first step. Its number of cells
    and its padding are limited, so memory depends on the number of tokens, not on the lengths.

    lengths (ndarray): tokens of each sequence, positive, descending, int64 (n_sequences,).
    RETURNS (list[tuple[int, int]]): number of time steps and of rows of each block.
    """
    counts = running(lengths)
    blocks = []
    begin = 0
    while begin < len(counts):
        n_rows = int(counts[begin])
        longest = min(max(_BLOCK_CELLS // n_rows, 1), _BLOCK_STEPS)
        used = counts[begin : begin + longest].cumsum()
        padding = np.arange(1, len(used) + 1) * n_rows - used
        fits = padding <= np.maximum(_PADDED_CELLS, used * _PADDED_SHARE)
        end = begin + int(fits.sum())  # padding only grows, and the first step has none
        blocks.append((end - begin, n_rows))
        begin = end
    return blocks
