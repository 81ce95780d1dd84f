"""Decode by a softmax over the tags of each token, restricted to valid tag sequences."""

from typing import TYPE_CHECKING

from .decoder import Decoder
from .transitions import Transitions

if TYPE_CHECKING:
    from torch import Tensor

    from .targets import Targets


# The log probability of an excluded path is at most this, so that its loss stays finite.
_MAX_EXCLUDED = -1e-6


class ConstrainedSoftmax(Decoder):
    """A softmax over the tags of each token. Only valid tag sequences are predicted."""

    soft_labels = True
    weighted = True

    def loss(self, logits: "Tensor", targets: "Targets", valid: Transitions) -> "Tensor":
        """Compute the cross-entropy of each sequence, see `Decoder.loss`.

        The loss of a token with several allowed tags A is −log Σ_{y ∈ A} p(y), without label
        smoothing. p is the softmax of its logits, as if tags did not depend on each other. The loss
        of an excluded path y is −log(1 − Π_t p_t(y_t)).
        """
        import torch  # noqa: PLC0415 - prediction does not need it

        n_tags = logits.shape[1]
        has_gold = targets.has_gold
        smoothing = targets.label_smoothing if n_tags > 1 else 0.0
        gold = logits.new_full(logits.shape, smoothing / max(n_tags - 1, 1))
        gold.scatter_(1, targets.tags.clamp(min=0)[:, None], 1.0 - smoothing)
        losses = cross_entropy(logits, gold)
        if targets.allowed is not None:
            possible = logits.log_softmax(1).masked_fill(~targets.allowed, -torch.inf)
            losses = torch.where(targets.tags >= 0, losses, -possible.logsumexp(1))
        losses = losses * has_gold
        if targets.soft is not None:
            share = targets.soft.share(has_gold)
            temperature = targets.soft.temperature
            soft = cross_entropy(logits / temperature[:, None], targets.soft.distributions)
            losses = losses * (1.0 - share) + soft * (share * temperature**2)
        for first, tags in targets.excluded:
            path = torch.arange(first, first + len(tags), device=logits.device)
            columns = torch.tensor(tags, device=logits.device)
            total = logits[path].log_softmax(1)[torch.arange(len(tags)), columns].sum()
            loss = -torch.log1p(-total.clamp(max=_MAX_EXCLUDED).exp())
            losses = losses.index_add(0, path[:1], loss[None])
        return targets.sum_by_sequence(losses)


def cross_entropy(logits: "Tensor", distributions: "Tensor") -> "Tensor":
    """Compute the cross-entropy of each token.

    logits (Tensor): (n_tokens, n_tags).
    distributions (Tensor): target distribution of each token, (n_tokens, n_tags).
    RETURNS (Tensor): (n_tokens,).
    """
    return -(logits.log_softmax(1) * distributions).sum(1)
