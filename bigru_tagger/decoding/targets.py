"""The training targets of a decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class SoftLabels(NamedTuple):
    """A teacher's distributions over the tags of tokens.

    The loss of a token is (1 − share) · H(gold, p) + share · T² · H(q_T, p_T). H is the
    cross-entropy, p the softmax of the token's logits, p_T the softmax of the logits divided by
    the temperature T, and q_T the teacher's distribution at this temperature (Hinton, Vinyals and
    Dean 2015, arXiv 1503.02531).

    distributions (Tensor): q_T, float32 (n_tokens, n_tags). A row of zeros means that there is no
        distribution for the token.
    temperature (Tensor): T, float32 (n_tokens,).
    weight (Tensor): the share for tokens that also have a gold tag, float32 (n_tokens,).
    """

    distributions: Tensor
    temperature: Tensor
    weight: Tensor

    @property
    def known(self) -> Tensor:
        """RETURNS (Tensor): which tokens have a distribution, bool (n_tokens,)."""
        return self.distributions.sum(1) > 0.0

    def share(self, has_gold: Tensor) -> Tensor:
        """Compute the share of the teacher in each token's loss.

        has_gold (Tensor): which tokens have a gold tag, bool (n_tokens,).
        RETURNS (Tensor): float32 (n_tokens,): `weight` for tokens with a distribution and a gold
            tag, 1 for tokens with only a distribution, 0 for tokens without a distribution.
        """
        return torch.where(self.known, torch.where(has_gold, self.weight, 1.0), 0.0)


@dataclass(frozen=True)
class Targets:
    """The training targets of a batch. The tokens of all sequences are concatenated.

    tags (Tensor): gold tag of each token, -1 if it is missing, int64 (n_tokens,).
    lengths (Sequence[int]): tokens of each sequence, zeros allowed.
    label_smoothing (float): share of the gold probability that is divided equally among the other
        tags.
    soft (SoftLabels | None): a teacher's distributions.
    weights (Tensor | None): weight of each token in the loss, at least 0, float32 (n_tokens,). None
        for 1. A decoder defines how they are used.
    """

    tags: Tensor
    lengths: Sequence[int]
    label_smoothing: float = 0.0
    soft: SoftLabels | None = None
    weights: Tensor | None = None

    @property
    def n_learned(self) -> int:
        """RETURNS (int): tokens that have a gold tag or a teacher's distribution."""
        learned = self.tags >= 0
        if self.soft is not None:
            learned = learned | self.soft.known
        return int(learned.sum())

    def sum_by_sequence(self, losses: Tensor) -> Tensor:
        """Sum the losses of tokens, multiplied by their weights.

        losses (Tensor): loss of each token, (n_tokens,).
        RETURNS (Tensor): loss of each sequence, (n_sequences,).
        """
        if self.weights is not None:
            losses = losses * self.weights
        sizes = torch.as_tensor(self.lengths, dtype=torch.int64, device=losses.device)
        sequence = torch.repeat_interleave(sizes)
        return losses.new_zeros(len(sizes)).index_add(0, sequence, losses)
