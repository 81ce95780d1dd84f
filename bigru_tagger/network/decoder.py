"""Decoders: the loss for logits, the search for the best tags, and marginal probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .decoding import decode, decode_best
from .marginals import span_probabilities, tag_probabilities
from .transitions import Array, Transitions


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
    """

    tags: Tensor
    lengths: Sequence[int]
    label_smoothing: float = 0.0
    soft: SoftLabels | None = None

    @property
    def n_learned(self) -> int:
        """RETURNS (int): tokens that have a gold tag or a teacher's distribution."""
        learned = self.tags >= 0
        if self.soft is not None:
            learned = learned | self.soft.known
        return int(learned.sum())

    def sum_by_sequence(self, losses: Tensor) -> Tensor:
        """Sum the losses of tokens.

        losses (Tensor): loss of each token, (n_tokens,).
        RETURNS (Tensor): loss of each sequence, (n_sequences,).
        """
        sizes = torch.as_tensor(self.lengths, dtype=torch.int64, device=losses.device)
        sequence = torch.repeat_interleave(sizes)
        return losses.new_zeros(len(sizes)).index_add(0, sequence, losses)


class Decoder(nn.Module, ABC):
    """The base class of decoders: a training loss for logits, and the prediction of tags.

    The arguments of all methods describe a batch of sequences, whose tokens are concatenated:
    `logits` are float (n_tokens, n_tags), and `lengths` are the tokens of each sequence, zeros
    allowed. `valid` are the transitions of the tag scheme: zero for valid transitions, minus
    infinity for the others.

    A subclass must define `loss`. By default, the score of a tag sequence is the sum of its logits
    and of its `transitions`, and the best tags and all probabilities follow from these scores.
    """

    soft_labels: ClassVar[bool] = False
    """Whether `loss` supports label smoothing and soft labels, which apply to single tokens."""

    cut_at_sentences: ClassVar[bool] = True
    """Whether each sentence of a Doc is a sequence, so that no span crosses a sentence boundary."""

    stored_as: ClassVar[str] = "decoding"
    """Prefix of the parameters' names in saved files."""

    def __init__(self, n_tags: int) -> None:
        """Allocate the decoder's own parameters.

        n_tags (int): number of tags.
        """
        super().__init__()

    @abstractmethod
    def loss(self, logits: Tensor, targets: Targets, valid: Transitions) -> Tensor:
        """Compute the loss of each sequence.

        logits (Tensor): (n_tokens, n_tags).
        targets (Targets): the training targets.
        valid (Transitions): the transitions of the tag scheme.
        RETURNS (Tensor): the sum over the tokens of each sequence, (n_sequences,). Infinity means
            that the gold tags are not valid and cannot be learned.
        """

    def transitions(self, valid: Transitions) -> Transitions:
        """Score the transitions between tags.

        valid (Transitions): the transitions of the tag scheme.
        RETURNS (Transitions): the scores; by default those of `valid`.
        """
        return valid

    def decode(self, logits: Array, lengths: np.ndarray, valid: Transitions) -> Array:
        """Find the best tags.

        RETURNS (Array): tag of each token, int64 (n_tokens,).
        """
        return decode(logits, lengths, self.transitions(valid))

    def decode_best(
        self, logits: Array, lengths: np.ndarray, valid: Transitions, n_best: int
    ) -> list[np.ndarray]:
        """Find the best tag sequences.

        n_best (int): number of hypotheses per sequence.
        RETURNS (list[ndarray]): the hypotheses of each sequence, best first, int64
            (n_found, n_tokens).
        """
        return decode_best(logits, lengths, self.transitions(valid), n_best)

    def marginals(
        self, logits: Array, lengths: np.ndarray, valid: Transitions, temperature: float = 1.0
    ) -> np.ndarray:
        """Compute the probability of each tag at each token.

        temperature (float): divisor of logits and transition scores.
        RETURNS (ndarray): float64 (n_tokens, n_tags).
        """
        return tag_probabilities(*self._tempered(logits, lengths, valid, temperature))

    def span_marginals(  # noqa: PLR0917
        self,
        logits: Array,
        lengths: np.ndarray,
        valid: Transitions,
        spans: np.ndarray,
        tags: Array,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """Compute the probability that all tokens of a span have the given tags.

        spans (ndarray): start and end token of each span, end exclusive, int (n_spans, 2). A span
            must be within one sequence.
        tags (Array): tag of each token, int (n_tokens,).
        temperature (float): divisor of logits and transition scores.
        RETURNS (ndarray): float64 (n_spans,).
        """
        return span_probabilities(*self._tempered(logits, lengths, valid, temperature), spans, tags)

    def _tempered(
        self, logits: Array, lengths: np.ndarray, valid: Transitions, temperature: float
    ) -> tuple[Array, np.ndarray, Transitions]:
        transitions = self.transitions(valid)
        if temperature == 1.0:
            return logits, lengths, transitions
        return logits / temperature, lengths, transitions.scaled(1.0 / temperature)

    def resize(self, n_tags: int) -> None:
        """Add tags. Their scores must not be higher than those of the first tag.

        n_tags (int): the new number of tags, the old ones first.
        """
