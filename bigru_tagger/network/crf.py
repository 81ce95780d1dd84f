"""A linear-chain CRF on top of the logits, with learned transition scores between tags.

The probability of a tag sequence y is exp(score(y)) / Z (Lafferty, McCallum and Pereira 2001). The
score is the sum of the logits of its tags, the transition scores between them, and the transition
scores into the first tag and out of the last. Z is the sum of exp(score) over all valid sequences.
The caller defines which sequences are valid. All computation is in log space and float64.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .decoder import Decoder, Targets
from .layout import Layout
from .transitions import Transitions

# Replaces minus infinity in log-sum-exp, whose gradient would not be finite otherwise.
_NO_PATH = -1e30


class CRF(Decoder):
    """Linear-chain CRF: learned transition scores, trained by the likelihood of tag sequences.

    The tokens of all sequences are concatenated. The scores in `valid` are added to the learned
    ones: minus infinity forbids a transition. Time is linear in the number of tokens.

    A sequence is a whole Doc, so predicted spans can cross sentence boundaries.
    """

    cut_at_sentences = False
    stored_as = "crf"

    def __init__(self, n_tags: int) -> None:
        """Allocate transition scores of zero.

        n_tags (int): number of tags.
        """
        super().__init__(n_tags)
        self.between = nn.Parameter(torch.zeros(n_tags, n_tags))  # (from, to)
        self.first = nn.Parameter(torch.zeros(n_tags))
        self.last = nn.Parameter(torch.zeros(n_tags))

    def transitions(self, valid: Transitions) -> Transitions:
        """Score the transitions between tags.

        valid (Transitions): scores to add.
        RETURNS (Transitions): the sums of these and the learned scores; minus infinity for
            forbidden transitions.
        """
        return Transitions(*(table.detach().cpu().numpy() for table in self._tables(valid)))

    def loss(self, logits: Tensor, targets: Targets, valid: Transitions) -> Tensor:
        """Compute the negative log likelihood of each sequence's gold tags, see `nll`."""
        # On the CPU: float64 and a long chain of small steps are slow on a GPU.
        return self.nll(logits.cpu(), targets.tags.cpu(), targets.lengths, valid)

    def nll(
        self, logits: Tensor, tags: Tensor, lengths: Sequence[int], valid: Transitions
    ) -> Tensor:
        """Compute the negative log likelihood of gold tags.

        If gold tags are missing, the likelihood sums over all valid sequences that agree with the
        known ones (Tsuboi et al. 2008, "Training Conditional Random Fields Using Incomplete
        Annotations").

        logits (Tensor): (n_tokens, n_tags).
        tags (Tensor): gold tag of each token, -1 if it is missing, int64 (n_tokens,).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        valid (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,); infinity if no valid sequence agrees with the
            gold tags.
        """
        known = tags >= 0
        if known.all():
            total = self.log_partition(logits, lengths, valid)
            return total - self.score(logits, tags, lengths, valid)
        other = torch.arange(logits.shape[1], device=tags.device) != tags[:, None]
        agreeing = logits.double().masked_fill(known[:, None] & other, _NO_PATH)
        both = torch.cat([logits.double(), agreeing])
        total, agreed = self.log_partition(both, [*lengths, *lengths], valid).chunk(2)
        return total - agreed

    def score(
        self, logits: Tensor, tags: Tensor, lengths: Sequence[int], valid: Transitions
    ) -> Tensor:
        """Compute the score of one tag sequence for each input sequence.

        logits (Tensor): (n_tokens, n_tags).
        tags (Tensor): tag of each token, int64 (n_tokens,).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        valid (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,); minus infinity for an invalid sequence.
        """
        between, first, last = self._tables(valid, logits.device)
        sequence = Layout(lengths, logits.device).sequence  # (n_tokens,)
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

    def log_partition(self, logits: Tensor, lengths: Sequence[int], valid: Transitions) -> Tensor:
        """Compute log Z by the forward algorithm.

        logits (Tensor): (n_tokens, n_tags).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        valid (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,); zero for an empty sequence, minus infinity if no
            tag sequence is valid.
        """
        tables = self._tables(valid, logits.device)
        between, first, last = (table.clamp(min=_NO_PATH) for table in tables)
        into = between.T.contiguous()  # (to, from)
        layout = Layout(lengths, logits.device)
        # Ordered by time step, longest sequence first, so the sequences still running come first.
        order, _, counts = layout.pack(backward=False)
        order = order.to(logits.device)
        steps = logits.double()[order].split(counts.tolist())
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
        sequences = layout.sequence[order[:n_nonempty]]
        return totals.new_zeros(len(lengths)).index_copy(0, sequences, totals)

    def resize(self, n_tags: int) -> None:
        """Add tags. They start with the transition scores of the first tag.

        n_tags (int): the new number of tags, the old ones first.
        """
        n_old = len(self.first)
        source = torch.arange(n_tags, device=self.first.device)
        source[n_old:] = 0
        for name, table in list(self.named_parameters()):
            resized = table.detach()[source]
            setattr(self, name, nn.Parameter(resized[:, source] if table.dim() > 1 else resized))

    def _tables(
        self, valid: Transitions, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        def add(learned: Tensor, scores: np.ndarray) -> Tensor:
            # Move before converting: not every device supports float64.
            learned = learned.to(device or "cpu").double()
            return learned + torch.from_numpy(scores).to(learned.device)

        return (
            add(self.between, valid.between),
            add(self.first, valid.first),
            add(self.last, valid.last),
        )
