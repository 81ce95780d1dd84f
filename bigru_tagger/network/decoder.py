"""Ways of decoding: a loss that trains the logits, the best tags, and their probabilities."""

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

    The loss of a token is (1 − share) · H(gold, p) + share · T² · H(q_T, p_T), where H is the
    cross-entropy, p the softmax of the token's logits, p_T that of the logits divided by the
    temperature T, and q_T the teacher's distribution at this temperature. Hinton, Vinyals and Dean
    2015, arXiv 1503.02531.

    distributions (Tensor): q_T, a row of zeros where the teacher gives none, float32
        (n_tokens, n_tags).
    temperature (Tensor): T, float32 (n_tokens,).
    weight (Tensor): the share where there is a gold tag as well, float32 (n_tokens,).
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
        RETURNS (Tensor): `weight` with both, 1 with the teacher alone, otherwise 0, float32
            (n_tokens,).
        """
        return torch.where(self.known, torch.where(has_gold, self.weight, 1.0), 0.0)


@dataclass(frozen=True)
class Targets:
    """What a batch is trained on, one sequence after the other.

    tags (Tensor): gold tag of each token, -1 where there is none, int64 (n_tokens,).
    lengths (Sequence[int]): tokens of each sequence, zeros allowed.
    label_smoothing (float): share of the gold probability that goes to the other tags, in equal
        parts.
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

        losses (Tensor): of each token, (n_tokens,).
        RETURNS (Tensor): of each sequence, (n_sequences,).
        """
        sizes = torch.as_tensor(self.lengths, dtype=torch.int64, device=losses.device)
        sequence = torch.repeat_interleave(sizes)
        return losses.new_zeros(len(sizes)).index_add(0, sequence, losses)


class Decoder(nn.Module, ABC):
    """A way of decoding: how tags follow from logits, and how logits are trained for that.

    Logits are those of all tokens of some sequences, one sequence after the other,
    (n_tokens, n_tags); `lengths` are the tokens of each sequence, zeros allowed. `valid` are the
    transitions that the tag scheme allows: zero, or minus infinity where it forbids.

    Only `loss` has to be defined. Unless overridden, the best tags and all probabilities are those
    of the sequences that `transitions` allows, by the sum of their logits and transitions.
    """

    soft_labels: ClassVar[bool] = False
    """Whether `loss` takes label smoothing and soft labels, which are for single tokens."""

    cut_at_sentences: ClassVar[bool] = True
    """Whether spans end at sentence starts of a Doc, so that each sentence is a sequence."""

    stored_as: ClassVar[str] = "decoding"
    """What the names of its parameters begin with in saved files."""

    def __init__(self, n_tags: int) -> None:
        """Allocate what is learned besides the network.

        n_tags (int): number of tags.
        """
        super().__init__()

    @abstractmethod
    def loss(self, logits: Tensor, targets: Targets, valid: Transitions) -> Tensor:
        """Compute the loss of each sequence.

        logits (Tensor): (n_tokens, n_tags).
        targets (Targets): what the tokens should be tagged as.
        valid (Transitions): what the tag scheme allows.
        RETURNS (Tensor): the sum over the tokens of each sequence, (n_sequences,); infinite where
            its gold tags are not valid, and that makes it impossible to learn them.
        """

    def transitions(self, valid: Transitions) -> Transitions:
        """Score the transitions between tags.

        valid (Transitions): what the tag scheme allows.
        RETURNS (Transitions): the scores, here those of `valid`.
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

        n_best (int): how many.
        RETURNS (list[ndarray]): of each sequence, the best first, int64 (n_found, n_tokens).
        """
        return decode_best(logits, lengths, self.transitions(valid), n_best)

    def marginals(
        self, logits: Array, lengths: np.ndarray, valid: Transitions, temperature: float = 1.0
    ) -> np.ndarray:
        """Compute the probability of each tag at each token.

        temperature (float): what logits and transitions are divided by.
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
        """Compute the probability that all tokens of a span have given tags.

        spans (ndarray): first token and token behind the last, each span within one sequence, int
            (n_spans, 2).
        tags (Array): tag of each token, int (n_tokens,).
        temperature (float): what logits and transitions are divided by.
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
        """Make room for more tags, such that they get no higher scores than the first tag.

        n_tags (int): the new number of tags, the old ones first.
        """
