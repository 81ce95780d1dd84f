"""Decode by a softmax over the tags of each token, restricted to valid tag sequences."""

from typing import TYPE_CHECKING

from .decoder import Decoder
from .transitions import Transitions

if TYPE_CHECKING:
    from torch import Tensor

    from .targets import Targets


class ConstrainedSoftmax(Decoder):
    """A softmax over the tags of each token. Only valid tag sequences are predicted."""

    soft_labels = True
    weighted = True

    def loss(self, logits: "Tensor", targets: "Targets", valid: Transitions) -> "Tensor":
        """Compute the cross-entropy of each sequence, see `Decoder.loss`."""
        n_tags = logits.shape[1]
        has_gold = targets.tags >= 0
        smoothing = targets.label_smoothing if n_tags > 1 else 0.0
        gold = logits.new_full(logits.shape, smoothing / max(n_tags - 1, 1))
        gold.scatter_(1, targets.tags.clamp(min=0)[:, None], 1.0 - smoothing)
        losses = cross_entropy(logits, gold)
        if targets.soft is None:
            return targets.sum_by_sequence(losses * has_gold)
        share = targets.soft.share(has_gold)
        temperature = targets.soft.temperature
        soft = cross_entropy(logits / temperature[:, None], targets.soft.distributions)
        losses = losses * (has_gold * (1.0 - share)) + soft * (share * temperature**2)
        return targets.sum_by_sequence(losses)


def cross_entropy(logits: "Tensor", distributions: "Tensor") -> "Tensor":
    """Compute the cross-entropy of each token.

    logits (Tensor): (n_tokens, n_tags).
    distributions (Tensor): target distribution of each token, (n_tokens, n_tags).
    RETURNS (Tensor): (n_tokens,).
    """
    return -(logits.log_softmax(1) * distributions).sum(1)
