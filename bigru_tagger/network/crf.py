"""A linear-chain CRF on top of the emissions: learned scores of going from tag to tag.

The probability of a tag sequence y is exp(score(y)) / Z, where the score sums the emissions of its
tags, the transitions between them, and one transition into the first and out of the last; Z sums
exp(score) over all legal sequences (Lafferty, McCallum and Pereira 2001). What is legal is the
caller's business. All computation is in log space and in double precision.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .layout import Layout
from .transitions import Transitions

# Stands for minus infinity where it goes into log-sum-exp, whose gradient has to be a number.
_NO_PATH = -1e30


class CRF(nn.Module):
    """Transition scores, and the likelihood of tag sequences by emissions and transitions.

    Sequences lie in one array, one after the other. `legal` gives scores to add to the learned
    ones: minus infinity forbids. Time is linear in the number of tokens.
    """

    def __init__(self, n_tags: int) -> None:
        """Start with transitions that are all alike.

        n_tags (int): number of tags.
        """
        super().__init__()
        self.between = nn.Parameter(torch.zeros(n_tags, n_tags))  # (from, to)
        self.first = nn.Parameter(torch.zeros(n_tags))
        self.last = nn.Parameter(torch.zeros(n_tags))

    def transitions(self, legal: Transitions) -> Transitions:
        """Give the scores that decoding needs.

        legal (Transitions): scores to add.
        RETURNS (Transitions): learned scores, but minus infinity where `legal` forbids.
        """
        return Transitions(*(table.detach().cpu().numpy() for table in self._tables(legal)))

    def nll(
        self, emissions: Tensor, tags: Tensor, lengths: Sequence[int], legal: Transitions
    ) -> Tensor:
        """Compute the negative log likelihood of gold tags.

        Where gold tags are missing, all legal sequences that agree with the others count as gold
        (Tsuboi et al. 2008, "Training Conditional Random Fields Using Incomplete Annotations").

        emissions (Tensor): log scores, not normalised, (n_tokens, n_tags).
        tags (Tensor): gold tag of each token, -1 where it is missing, int64 (n_tokens,).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        legal (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,); infinite where no legal sequence agrees with the
            gold tags.
        """
        known = tags >= 0
        if known.all():
            total = self.log_partition(emissions, lengths, legal)
            return total - self.score(emissions, tags, lengths, legal)
        other = torch.arange(emissions.shape[1], device=tags.device) != tags[:, None]
        agreeing = emissions.double().masked_fill(known[:, None] & other, _NO_PATH)
        both = torch.cat([emissions.double(), agreeing])
        total, agreed = self.log_partition(both, [*lengths, *lengths], legal).chunk(2)
        return total - agreed

    def score(
        self, emissions: Tensor, tags: Tensor, lengths: Sequence[int], legal: Transitions
    ) -> Tensor:
        """Sum the emissions and transitions of one tag sequence each.

        emissions (Tensor): log scores, (n_tokens, n_tags).
        tags (Tensor): tag of each token, int64 (n_tokens,).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        legal (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,); minus infinity for an illegal sequence.
        """
        between, first, last = self._tables(legal, emissions.device)
        row = Layout(lengths, emissions.device).row  # (n_tokens,)
        own = emissions.double().gather(1, tags[:, None])[:, 0]
        begins = torch.ones_like(row, dtype=torch.bool)
        begins[1:] = row[1:] != row[:-1]
        ends = begins.roll(-1)
        inner = ~begins[1:]
        steps = between[tags[:-1][inner], tags[1:][inner]]
        total = own.new_zeros(len(lengths)).index_add(0, row, own)
        total = total.index_add(0, row[1:][inner], steps)
        total = total.index_add(0, row[begins], first[tags[begins]])
        return total.index_add(0, row[ends], last[tags[ends]])

    def log_partition(
        self, emissions: Tensor, lengths: Sequence[int], legal: Transitions
    ) -> Tensor:
        """Compute log Z, by the forward algorithm.

        emissions (Tensor): log scores, (n_tokens, n_tags).
        lengths (Sequence[int]): tokens of each sequence, zeros allowed.
        legal (Transitions): scores to add.
        RETURNS (Tensor): float64 (n_sequences,), zero of an empty sequence; minus infinity where
            no sequence is legal.
        """
        tables = self._tables(legal, emissions.device)
        between, first, last = (table.clamp(min=_NO_PATH) for table in tables)
        into = between.T.contiguous()  # (to, from)
        layout = Layout(lengths, emissions.device)
        # Ordered by time step, longest sequence first, so that those still running come first.
        order, _, counts = layout.pack(backward=False)
        order = order.to(emissions.device)
        steps = emissions.double()[order].split(counts.tolist())
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
        rows = layout.row[order[:n_nonempty]]
        return totals.new_zeros(len(lengths)).index_copy(0, rows, totals)

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
        self, legal: Transitions, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        def add(learned: Tensor, scores: np.ndarray) -> Tensor:
            # First the device, then the precision, which not every device has.
            learned = learned.to(device or "cpu").double()
            return learned + torch.from_numpy(scores).to(learned.device)

        return (
            add(self.between, legal.between),
            add(self.first, legal.first),
            add(self.last, legal.last),
        )
