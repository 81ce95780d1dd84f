"""Document-level context in NumPy, see `bigru_tagger.network.context`."""

from collections.abc import Mapping

import numpy as np

from ..stages import CONTEXT, stage
from .storage import Weights

# Tokens that are updated at once, so that their rows stay in the cache of a core.
_BLOCK = 256


class ContextPooling:
    """Combine the state of each token with weighted means of states in the same document."""

    def __init__(
        self, weights: Weights, width: int, occurrences: int, global_context: int, n_out: int
    ) -> None:
        """Take the parameters.

        weights (Weights): the parameters.
        width (int): width of the states.
        occurrences (int): width of the mean over the occurrences of a token's word; 0 for none.
        global_context (int): width of the mean over all tokens; 0 for none.
        n_out (int): width of the output.
        RAISES (ValueError): if a parameter is missing, or has another shape.
        """
        units = {"occurrences": occurrences, "global_context": global_context}
        self.groups = [name for name, n in units.items() if n]
        self.width = n_out
        self._n_states = width
        self._units = [n for n in units.values() if n]
        self._parameters = []
        for name in self.groups:
            project, attend = weights.under("project").under(name), weights.under("attend")
            self._parameters += [
                (project.take("weight", units[name], width), project.take("bias", units[name])),
                (attend.under(name).take("weight", 1, width), np.zeros(1, np.float32)),
            ]
        self._read: tuple[np.ndarray, ...] | None = None
        combine = weights.under("combine")
        self._weight = combine.take("weight", n_out, width + occurrences + global_context)
        self._bias = combine.take("bias", n_out)

    @stage(CONTEXT)
    def __call__(self, states: np.ndarray, groups: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mix each state with the means over its groups.

        states (ndarray): float32 (n_tokens, width).
        groups (Mapping[str, ndarray]): number of each token's group, int64 (n_tokens,), see
            `Batch.groups`.
        RETURNS (ndarray): float32 (n_tokens, n_out), see
            `bigru_tagger.network.context.ContextPooling`.
        RAISES (ValueError): if a group is missing.
        """
        missing = [name for name in self.groups if name not in groups]
        if missing:
            raise ValueError(f"the network needs the groups of the tokens for {missing}")
        if not len(states):
            return np.zeros((0, self.width), np.float32)
        if self._read is None:
            weights, biases = zip(*self._parameters, strict=True)
            self._read = np.concatenate(weights), np.concatenate(biases)
        weight, bias = self._read
        # V h and q h of all groups in one product. A separate product for a single column would
        # take as long as one for many columns.
        read = states @ weight.T
        read += bias
        end = self._n_states
        mixed: np.ndarray = states @ self._weight[:, :end].T
        mixed += self._bias
        place = 0
        for name, units in zip(self.groups, self._units, strict=True):
            values, scores = read[:, place : place + units], read[:, place + units]
            means, group = _mean(values, scores, groups[name])
            np.tanh(means, out=means)
            begin, end, place = end, end + units, place + units + 1
            # One product per group, not one per token.
            products = means @ self._weight[:, begin:end].T
            for start in range(0, len(group), _BLOCK):
                here = slice(start, start + _BLOCK)
                mixed[here] += products.take(group[here], 0)
        np.maximum(mixed, np.float32(0.0), out=mixed)
        return mixed


def _mean(
    values: np.ndarray, scores: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # The mean of each group that has tokens, (n_groups, units), and the row of each token in it,
    # (n_tokens,). The weights are the softmax of the scores within the group.
    order: np.ndarray | slice = slice(None)
    if (groups[1:] < groups[:-1]).any():
        order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    begins = np.flatnonzero(is_first)
    place = is_first.cumsum() - 1
    row = np.empty_like(place)
    row[order] = place
    weights = scores[order]
    weights = np.exp(weights - np.maximum.reduceat(weights, begins)[place])
    values = values[order] * weights[:, None]
    means: np.ndarray = np.add.reduceat(values, begins, 0)
    means /= np.add.reduceat(weights, begins)[:, None]
    return means, row
