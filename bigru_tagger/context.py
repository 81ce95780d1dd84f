"""Context beyond the sequence: what a word's other occurrences in the document say about it."""

import torch
from torch import Tensor, nn


class OccurrencePooling(nn.Module):
    """Gives each token the mean of the states of all occurrences of its word in the document.

    A name is often clear in one sentence and not in the next; so evidence is shared between the
    sentences of a document, as by the context aggregation of Ratinov and Roth 2009
    (aclanthology.org/W09-1119) and the non-local features of Krishnan and Manning 2006
    (aclanthology.org/P06-1141), here on learned states.
    """

    def __init__(self, width: int, units: int) -> None:
        """Allocate the two linear layers.

        width (int): width of the states.
        units (int): width of the mean.
        """
        super().__init__()
        self.project = nn.Linear(width, units)
        self.combine = nn.Linear(width + units, width)

    def forward(self, states: Tensor, groups: Tensor, dropout: float = 0.0) -> Tensor:
        """Mix each state with the mean over its group.

        states (Tensor): (n_tokens, width).
        groups (Tensor): number of each token's group, from 0, int64 (n_tokens,).
        dropout (float): chance of a unit to be zeroed, of the means and of the output.
        RETURNS (Tensor): ReLU(W [h_t; tanh(mean of V h_s over the group)]), (n_tokens, width).
        """
        if not len(states):
            return states
        # In full precision: a long sum of bfloat16 stops growing.
        values = self.project(states).float()
        n_groups = int(groups.max()) + 1
        sums = values.new_zeros((n_groups, values.shape[1])).index_add(0, groups, values)
        counts = torch.bincount(groups, minlength=n_groups).unsqueeze(1)
        means = torch.tanh(sums / counts)
        if dropout > 0.0:
            means = nn.functional.dropout(means, dropout)
        mixed = torch.relu(self.combine(torch.cat([states, means[groups]], 1)))
        return nn.functional.dropout(mixed, dropout) if dropout > 0.0 else mixed
