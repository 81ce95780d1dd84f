"""Where the tokens of a batch stand: sequences and time steps, packed or padded."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .time_steps import TimeSteps, running

# A block of padded rows has at most so many cells, unless one step of it has more, and so many
# steps, as cuDNN refuses very long rows. It may pad so many cells, or as many as this share of its
# tokens.
_BLOCK_CELLS = 1 << 16
_BLOCK_STEPS = 1 << 10
_PADDED_CELLS = 1 << 12
_PADDED_SHARE = 0.25


class Layout:
    """Where the tokens of a batch stand: sequence and time step of each, and back.

    The tokens of all sequences lie in one array, one sequence after the other. Nothing is padded
    on a CPU. A GPU gets blocks of padded rows, since cuDNN is several times slower with packed
    sequences than with padded ones; see `plan_blocks`.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, device: torch.device) -> None:
        """Compute the layout.

        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        device (torch.device): where the indices are needed.
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

        backward (bool): read each sequence from its last token to its first.
        RETURNS (tuple[Tensor, Tensor, Tensor]): the token at each place (n_tokens,), the place
            of each token (n_tokens,), and the number of sequences at each time step (n_steps,),
            which stays on the CPU.
        """
        if backward not in self._packs:  # every layer asks for the same
            steps = TimeSteps(self.lengths, backward=backward)
            order, place = (
                torch.from_numpy(array).to(self._device) for array in (steps.order, steps.place)
            )
            self._packs[backward] = (order, place, torch.from_numpy(steps.counts))
        return self._packs[backward]

    def pad(self, backward: bool) -> tuple[list[tuple[int, int]], Tensor, Tensor]:
        """Arrange the tokens in blocks of padded rows, longest sequence first.

        backward (bool): read each sequence from its last token to its first.
        RETURNS (tuple[list[tuple[int, int]], Tensor, Tensor]): the time steps and rows of each
            block; the token of each cell, one block after the other and in each by time step,
            int64 (n_cells,), where cells behind a row's end hold the first of all tokens; and the
            cell of each token, int64 (n_tokens,).
        """
        if backward not in self._pads:  # every layer asks for the same
            sizes = self.lengths
            by_length = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
            rank = np.zeros_like(sizes)
            rank[by_length] = np.arange(len(by_length))
            blocks = plan_blocks(sizes[by_length])
            widths = np.repeat(*np.array(blocks)[:, ::-1].T)  # of each time step
            begins = widths.cumsum() - widths
            n_cells = int(widths.sum())
            # Few numbers go to the device: what has one for each token is computed there.
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

    A block holds the rows that are still running at its first step. It ends before it has too many
    cells, or before too many of them pad. So memory depends on the number of tokens, whatever the
    lengths.

    lengths (ndarray): tokens of each sequence, positive, descending, int64 (n_sequences,).
    RETURNS (list[tuple[int, int]]): time steps and rows of each block.
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
        end = begin + int(fits.sum())  # as padding only grows; the first step has none
        blocks.append((end - begin, n_rows))
        begin = end
    return blocks
