"""A linear-chain CRF on top of the logits, with learned transition scores between tags.

The probability of a tag sequence y is exp(score(y)) / Z (Lafferty, McCallum and Pereira 2001). The
score is the sum of the logits of its tags, the transition scores between them, and the transition
scores into the first tag and out of the last. Z is the sum of exp(score) over all valid sequences.
The caller defines which sequences are valid. All computation is in log space and float64.
"""

from typing import TYPE_CHECKING

from .decoder import Decoder
from .transitions import Transitions, to_double, to_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from .targets import Targets


class CRF(Decoder):
    """Linear-chain CRF: learned transition scores, trained by the likelihood of tag sequences.

    The tokens of all sequences are concatenated. The scores in `valid` are added to the learned
    ones: minus infinity forbids a transition. Time is linear in the number of tokens.

    A sequence is a whole Doc, so predicted spans can cross sentence boundaries.
    """

    weighted = True
    cut_at_sentences = False
    stored_as = "crf"

    @classmethod
    def shapes(cls, n_tags: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the transition scores: between tags (from, to), first, and last."""
        return {"between": (n_tags, n_tags), "first": (n_tags,), "last": (n_tags,)}

    def transitions(self, valid: Transitions) -> Transitions:
        """Score the transitions between tags.

        valid (Transitions): scores to add.
        RETURNS (Transitions): the sums of these and the learned scores; minus infinity for
            forbidden transitions.
        """
        return Transitions(
            **{
                name: to_double(to_numpy(learned)) + getattr(valid, name)
                for name, learned in self.parameters.items()
            }
        )

    def loss(self, logits: "Tensor", targets: "Targets", valid: Transitions) -> "Tensor":
        """Compute the negative log likelihood of each sequence's gold tags.

        See `nll`, and `weighted_nll` if tokens have weights.
        """
        from .likelihood import nll, score_tables, weighted_nll  # noqa: PLC0415 - imports torch

        # On the CPU: float64 and a long chain of small steps are slow on a GPU.
        tables = score_tables(self.parameters, valid)
        logits, tags = logits.cpu(), targets.tags.cpu()
        if targets.weights is None:
            return nll(logits, tags, targets.lengths, tables)
        return weighted_nll(logits, tags, targets.weights.cpu(), targets.lengths, tables)
