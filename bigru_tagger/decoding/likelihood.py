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
    both = torch.cat([logits.double(), _agreeing(logits, tags)])
    total, agreed = log_partition(both, [*lengths, *lengths], tables).chunk(2)
    return total - agreed


def weighted_nll(
    logits: Tensor, tags: Tensor, weights: Tensor, lengths: Sequence[int], tables: Tables
) -> Tensor:
    """Compute the negative log likelihood of gold tags, with a weight for each token.

    The likelihood of the gold tags y of a text x is the product of the probabilities of each tag
    given the gold tags before it. The logarithm of each factor is multiplied by the weight of its
    token:

        loss = −Σ_t w_t · log p(y_t | y_1 … y_{t−1}, x) = −Σ_t w_t · (P_t − P_{t−1})

    P_t is the log probability of all tag sequences that agree with the gold tags up to token t,
    and P_0 = 0. If all weights are w, the loss is w · `nll`. A missing tag agrees with every tag:
    P_t is P_{t−1}, and its weight has no effect.

    logits (Tensor): (n_tokens, n_tags).
    tags (Tensor): gold tag of each token, -1 if it is missing, int64 (n_tokens,).
    weights (Tensor): weight of each token, at least 0, (n_tokens,).
    lengths (Sequence[int]): tokens of each sequence, zeros allowed.
    tables (Tables): transition scores, see `score_tables`.
    RETURNS (Tensor): float64 (n_sequences,); infinity if no valid sequence agrees with the
        gold tags.
    """
    between, first, last = tables
    sizes = torch.tensor(lengths, dtype=torch.int64)
    ends = sizes.cumsum(0)
    sequence = torch.repeat_interleave(sizes)  # (n_tokens,)
    # The backward algorithm is the forward algorithm from the last token to the first.
    backward = forward_scores(logits, lengths, (between.T, last, first), backward=True)
    agreed = forward_scores(_agreeing(logits, tags), lengths, tables) + backward - logits.double()
    upto = agreed.logsumexp(1)  # P_t + log Z
    begins = torch.arange(len(sequence)) == (ends - sizes)[sequence]
    before = torch.where(begins, (first.clamp(min=_NO_PATH) + backward).logsumexp(1), upto.roll(1))
    losses = weights.double() * (before - upto)
    loss = losses.new_zeros(len(sizes)).index_add(0, sequence, losses)
    impossible = sequence[upto < _NO_PATH / 2]
    return loss.index_fill(0, impossible, torch.inf)


def _agreeing(logits: Tensor, tags: Tensor) -> Tensor:
    # The logits without a path through other tags than the known gold tags, float64.
    other = torch.arange(logits.shape[1], device=tags.device) != tags[:, None]
    return logits.double().masked_fill((tags >= 0)[:, None] & other, _NO_PATH)


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
    sizes = torch.tensor(lengths, dtype=torch.int64)
    nonempty = sizes > 0
    ends = sizes.cumsum(0)[nonempty] - 1
    final = forward_scores(logits, lengths, tables)[ends] + tables[2].clamp(min=_NO_PATH)
    totals = final.logsumexp(1)
    totals = totals.masked_fill(totals < _NO_PATH / 2, -torch.inf)
    return totals.new_zeros(len(sizes)).index_copy(0, nonempty.nonzero()[:, 0], totals)


def forward_scores(
    logits: Tensor, lengths: Sequence[int], tables: Tables, *, backward: bool = False
) -> Tensor:
    """Compute the forward scores of the forward algorithm.

    logits (Tensor): (n_tokens, n_tags).
    lengths (Sequence[int]): tokens of each sequence, zeros allowed.
    tables (Tables): transition scores, see `score_tables`. The scores out of the last tag are not
        used.
    backward (bool): process each sequence from its last token to its first.
    RETURNS (Tensor): for each token and tag, the log of the sum of exp(score) over the tag
        sequences that end there with this tag, float64 (n_tokens, n_tags).
    """
    between, first, _ = (table.clamp(min=_NO_PATH) for table in tables)
    into = between.T.contiguous()  # (to, from)
    time_steps = TimeSteps(np.asarray(lengths, dtype=np.int64), backward=backward)
    # Ordered by time step, longest sequence first, so the sequences still running come first.
    steps = logits.double()[time_steps.order].split(time_steps.counts.tolist())
    forward = first.expand(len(steps[0]) if steps else 0, -1)
    computed = []
    for step, own in enumerate(steps):
        forward = forward[: len(own)]
        if step:
            forward = (forward[:, None] + into).logsumexp(2)  # over (n_running, to, from)
        forward = forward + own
        computed.append(forward)
    return torch.cat(computed)[time_steps.place] if computed else logits.double()
