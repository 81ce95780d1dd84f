"""Document-level context: means of the states of other tokens in the document."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..stages import CONTEXT, stage


class ContextPooling(nn.Module):
    """Combine the state of each token with weighted means of states in the same document.

    `occurrences` is the mean over all occurrences of the token's word. A name is often clear in
    one sentence and ambiguous in the next. The mean shares evidence between sentences, like the
    context aggregation of Ratinov and Roth 2009 (aclanthology.org/W09-1119) and the non-local
    features of Krishnan and Manning 2006 (aclanthology.org/P06-1141), but on learned states. The
    mean is weighted by how clear each occurrence is: attention with one learned query, as in Yang
    et al. 2016 (aclanthology.org/N16-1174).

    `global_context` is the mean over all tokens. The topic of a document helps to distinguish, for
    example, a team from its town. It follows the global context of Liu et al. 2019
    (aclanthology.org/P19-1233), who use the unweighted mean over one sentence from a separate
    encoder.
    """

    def __init__(self, width: int, occurrences: int, global_context: int, n_out: int) -> None:
        """Allocate the linear layers.

        width (int): width of the states.
        occurrences (int): width of the mean over the occurrences of a token's word; 0 for none.
        global_context (int): width of the mean over all tokens; 0 for none.
        n_out (int): width of the output.
        """
        super().__init__()
        units = {"occurrences": occurrences, "global_context": global_context}
        self.project = nn.ModuleDict({name: nn.Linear(width, n) for name, n in units.items() if n})
        self.attend = nn.ModuleDict(
            {name: nn.Linear(width, 1, bias=False) for name in self.project}
        )
        for attend in self.attend.values():
            nn.init.zeros_(attend.weight)  # type: ignore[arg-type]
        self.combine = nn.Linear(width + occurrences + global_context, n_out)
        self.width = n_out
        self._widths = [width, *(n for n in units.values() if n)]

    @stage(CONTEXT)
    def forward(self, states: Tensor, groups: Mapping[str, Tensor], dropout: float = 0.0) -> Tensor:
        """Mix each state with the means over its groups.

        states (Tensor): (n_tokens, width).
        groups (Mapping[str, Tensor]): number of each token's group, from 0, int64 (n_tokens,).
            Keys are "occurrences" and "global_context", if their width is positive.
        dropout (float): dropout rate of the means and of the output.
        RETURNS (Tensor): ReLU(W [h_t; tanh(mean of V h_s over the word's occurrences); tanh(mean
            of G h_s over the document)] + b), (n_tokens, n_out). The weight of token s is
            exp(q h_s) in the first mean and exp(p h_s) in the second.
        """
        if not len(states):
            return states.new_zeros((0, self.width))
        w_states, *w_means = self.combine.weight.split(self._widths, 1)
        mixed = nn.functional.linear(states, w_states, self.combine.bias)
        for name, w_mean in zip(self.project, w_means, strict=True):
            values, scores = self._read(name, states)
            means = torch.tanh(_mean(values, scores, groups[name]))
            if dropout > 0.0:
                means = nn.functional.dropout(means, dropout)
            # One product per group, not one per token. The gradient of `index_select` is several
            # times faster on a CPU than that of indexing.
            mixed += nn.functional.linear(means, w_mean).index_select(0, groups[name])
        mixed.relu_()
        return nn.functional.dropout(mixed, dropout) if dropout > 0.0 else mixed

    def _read(self, name: str, states: Tensor) -> tuple[Tensor, Tensor]:
        # V h and q h, (n_tokens, units) and (n_tokens, 1), in one product. A separate product for
        # the single column would take as long as one for many columns.
        project = dict(self.project[name].named_parameters())
        weight = torch.cat([project["weight"], *self.attend[name].parameters()])
        bias = nn.functional.pad(project["bias"], (0, 1))
        both = nn.functional.linear(states, weight, bias)
        return both[:, :-1], both[:, -1:]


def _mean(values: Tensor, scores: Tensor, groups: Tensor) -> Tensor:
    # The mean of each group, (n_groups, units). The weights are the softmax of the scores,
    # (n_tokens, 1), within the group. In float32, since a long sum in bfloat16 stops growing.
    values, scores = values.float(), scores.float()
    n_groups = int(groups.max()) + 1
    highest = scores.new_full((n_groups,), -torch.inf)
    highest = highest.scatter_reduce(0, groups, scores.detach().squeeze(1), "amax")
    weights = torch.exp(scores - highest[groups].unsqueeze(1))
    totals = weights.new_zeros((n_groups, 1)).index_add(0, groups, weights)
    sums = values.new_zeros((n_groups, values.shape[1])).index_add(0, groups, weights * values)
    # The highest score has a weight of 1, so only an empty Doc has a total below 1.
    return sums / totals.clamp(min=1.0)
