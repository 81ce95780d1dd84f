"""The likelihood of tag sequences in a CRF, with a gradient. On the CPU, in float64."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..time_steps import TimeSteps
from .transitions import Transitions

Tables: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Scores of transitions between tags (from, to), into the first tag, and out of the last one."""

# Replaces minus infinity in log-sum-exp, whose gradient would not be finite otherwise.
_NO_PATH = -1e30


def score_tables(learned: Mapping[str, Tensor], valid: Transitions) -> Tables:
    """Add learned transition scores to those of the tag scheme.

    learned (Mapping[str, Tensor]): "between", "first" and "last", on any device.
    valid (Transitions): scores to add.
    RETURNS (Tables): the sums, float64, on the CPU.
    """
    between, first, last = (
        # Moved before it is converted: not every device supports float64.
        learned[name].cpu().double() + torch.from_numpy(getattr(valid, name))
        for name in ("between", "first", "last")
    )
    return between, first, last


def nll(logits: Tensor, tags: Tensor, lengths: Sequence[int], tables: Tables) -> Tensor:
    """Compute the negative log likelihood of gold tags.

    If gold tags are missing, the likelihood sums over all valid sequences that agree with the
    known ones (Tsuboi et al. 2008, "Training Conditional Random Fields Using Incomplete
    Annotations").

    logits (Tensor): (n_tokens, n_tags).
    tags (Tensor): gold tag of each token, -1 if it is missing, int64 (n_tokens,).
    lengths (Sequence[int]): tokens of each sequence, zeros allowed.
    tables (Tables): transition scores, see `score_tables`.
    RETURNS (Tensor): float64 (n_sequences,); infinity if no valid sequence agrees with the
        gold tags.
    """
    known = tags >= 0
    if known.all():
        total = log_partition(logits, lengths, tables)
        return total - score(logits, tags, lengths, tables)
    other = torch.arange(logits.shape[1], device=tags.device) != tags[:, None]
    agreeing = logits.double().masked_fill(known[:, None] & other, _NO_PATH)
    both = torch.cat([logits.double(), agreeing])
    total, agreed = log_partition(both, [*lengths, *lengths], tables).chunk(2)
    return total - agreed


def score(logits: Tensor, tags: Tensor, lengths: Sequence[int], tables: Tables) -> Tensor:
    """Compute the score of one tag sequence for each input sequence.

    logits (Tensor): (n_tokens, n_tags).
    tags (Tensor): tag of each token, int64 (n_tokens,).
    lengths (Sequence[int]): tokens of each sequence, zeros allowed.
    tables (Tables): transition scores, see `score_tables`.
    RETURNS (Tensor): float64 (n_sequences,); minus infinity for an invalid sequence.
    """
    between, first, last = tables
    sequence = torch.repeat_interleave(torch.tensor(lengths, dtype=torch.int64))  # (n_tokens,)
    own = logits.double().gather(1, tags[:, None])[:, 0]
    begins = torch.ones_like(sequence, dtype=torch.bool)
    begins[1:] = sequence[1:] != sequence[:-1]
    ends = begins.roll(-1)
    inner = ~begins[1:]
    steps = between[tags[:-1][inner], tags[1:][inner]]
    total = own.new_zeros(len(lengths)).index_add(0, sequence, own)
    total = total.index_add(0, sequence[1:][inner], steps)
    total = total.index_add(0, sequence[begins], first[tags[begins]])
    return total.index_add(0, sequence[ends], last[tags[ends]])


def log_partition(logits: Tensor, lengths: Sequence[int], tables: Tables) -> Tensor:
    """Compute log Z by the forward algorithm.

    logits (Tensor): (n_tokens, n_tags).
    lengths (Sequence[int]): tokens of each sequence, zeros allowed.
    tables (Tables): transition scores, see `score_tables`.
    RETURNS (Tensor): float64 (n_sequences,); zero for an empty sequence, minus infinity if no
        tag sequence is valid.
    """
    between, first, last = (table.clamp(min=_NO_PATH) for table in tables)
    into = between.T.contiguous()  # (to, from)
    time_steps = TimeSteps(np.asarray(lengths, dtype=np.int64))
    # Ordered by time step, longest sequence first, so the sequences still running come first.
    steps = logits.double()[time_steps.order].split(time_steps.counts.tolist())
    n_nonempty = len(steps[0]) if steps else 0
    forward = first.expand(n_nonempty, -1)
    ended = []
    for step, own in enumerate(steps):
        if len(own) < len(forward):
            ended.append(forward[len(own) :])
            forward = forward[: len(own)]
        if step:
            forward = (forward[:, None] + into).logsumexp(2)  # over (n_running, to, from)
        forward = forward + own
    ended.append(forward)
    totals = (torch.cat(ended[::-1]) + last).logsumexp(1)
    totals = totals.masked_fill(totals < _NO_PATH / 2, -torch.inf)
    sequences = torch.from_numpy(time_steps.sequence[:n_nonempty])
    return totals.new_zeros(len(lengths)).index_copy(0, sequences, totals)
