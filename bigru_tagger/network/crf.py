"""A linear-chain CRF on top of the logits: learned scores of going from tag to tag.

The probability of a tag sequence y is exp(score(y)) / Z, where the score sums the logits of its
tags, the transitions between them, and one transition into the first and out of the last; Z sums
exp(score) over all valid sequences (Lafferty, McCallum and Pereira 2001). The caller decides which
sequences are valid. All computation is in log space and in double precision.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .decoder import Decoder, Targets
from .layout import Layout
from .transitions import Transitions

# Stands for minus infinity where it goes into log-sum-exp, whose gradient has to be a number.
_NO_PATH = -1e30


class CRF(Decoder):
    """Transition scores, and the likelihood of tag sequences by logits and transitions.

    Sequences lie in one array, one after the other. `valid` gives scores to add to the learned
    ones: minus infinity forbids. Time is linear in the number of tokens.

    It learns the tags of whole Docs, so its spans may cross the sentence starts of a Doc.
    """

    cut_at_sentences = False
    stored_as = "crf"

    def __init__(self, n_tags: int) -> None:
        """Start with transitions that are all alike.

        n_tags (int): number of tags.
        """
        super().__init__(n_tags)
        self.between = nn.Parameter(torch.zeros(n_tags, n_tags))  # (from, to)
        self.first = nn.Parameter(torch.zeros(n_tags))
        self.last = nn.Parameter(torch.zeros(n_tags))

    def transitions(self, valid: Transitions) -> Transitions:
        """Score the transitions between tags.

        valid (Transitions): scores to add.
        RETURNS (Transitions): learned scores, but minus infinity where `valid` forbids.
        """
        return Transitions(*(table.detach().cpu().numpy() for table in self._tables(valid)))

    def loss(self, logits: Tensor, targets: Targets, valid: Transitions) -> Tensor:
        """Compute the negative log likelihood of each sequence's gold tags, see `nll`."""
        # On the CPU, since this is in double precision, and a long chain of small steps.
        return self.nll(logits.cpu(), targets.tags.cpu(), targets.lengths, valid)

    def nll(
        self, logits: Tensor, tags: Tensor, lengths: Sequence[int], valid: Transitions
    ) -> Tensor:
        """Compute the negative log likelihood of gold tags.

        Where gold tags are missing, all valid sequences that agree with the others count as gold
        (Tsuboi et al. 2008, "Training Conditional Random Fields Using Incomplete Annotations").

        logits (Tensor): log scores, not normalised, (n_tokens, n_tags).
        tags (Tensor): gold tag of each token, -1 where it is missing, int64 (n_tokens,).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        valid (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,); infinite where no valid sequence agrees with the
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
        """Sum the logits and transitions of one tag sequence each.

        logits (Tensor): log scores, (n_tokens, n_tags).
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
        """Compute log Z, by the forward algorithm.

        logits (Tensor): log scores, (n_tokens, n_tags).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        valid (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,), zero of an empty sequence; minus infinity where
            no sequence is valid.
        """
        tables = self._tables(valid, logits.device)
        between, first, last = (table.clamp(min=_NO_PATH) for table in tables)
        into = between.T.contiguous()  # (to, from)
        layout = Layout(lengths, logits.device)
        # Ordered by time step, longest sequence first, so that those still running come first.
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
        """Make room for more tags, which get the transitions of the first tag.

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
            # First the device, then the precision, which not every device has.
            learned = learned.to(device or "cpu").double()
            return learned + torch.from_numpy(scores).to(learned.device)

        return (
            add(self.between, valid.between),
            add(self.first, valid.first),
            add(self.last, valid.last),
        )
