"""One GRU layer on a CPU: both directions at once, over a batch that shrinks as sequences end.

`run_gru` is for training, `predict_gru` for prediction.

torch's GRU records each time step for autograd. On a CPU this costs several times as much as the
arithmetic. Here one batched matrix product computes a step of both directions, sequences that have
ended are dropped, and the gradient of the weights is one product over all steps.

The symbols are those of torch.nn.GRU's documentation:
r_t = σ(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr), z_t = σ(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz),
n_t = tanh(W_in x_t + b_in + r_t ∘ (W_hn h_{t-1} + b_hn)), h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t-1}.
Recurrent dropout replaces h_{t-1} by m ∘ h_{t-1} in the three products W_h h_{t-1}, but not in
z_t ∘ h_{t-1}.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..time_steps import TimeSteps

# Sequences that `predict_gru` runs in parallel. With this many, the gates of a step fit into a
# core's cache, and the matrix product runs at full speed, also in bfloat16.
_ROWS = 192
# Tokens whose inputs are gathered at once.
_BLOCK = 4096


@dataclass(frozen=True)
class SharedInput:
    """The first columns of a layer's input, with rows that several tokens share.

    table (Tensor): these columns, such as context-independent features, (n_rows, width); or the
        output of `project_inputs` for them.
    index (Tensor): each token's row of the table, int64 (n_tokens,).
    is_prepared (bool): whether the table is the output of `project_inputs`.
    """

    table: Tensor
    index: Tensor
    is_prepared: bool = False


def run_gru(
    directions: Sequence[nn.GRU],
    vectors: Tensor,
    orders: Sequence[Tensor],
    counts: Tensor,
    masks: Tensor | None = None,
    *,
    shared: SharedInput | None = None,
) -> list[Tensor]:
    """Run the directions of one layer over packed sequences.

    directions (Sequence[GRU]): one layer and direction each, of the same width.
    vectors (Tensor): one row per token, (n_tokens, input_width).
    orders (Sequence[Tensor]): for each direction the token at each place of the packed sequence,
        in the order of `torch.nn.utils.rnn.PackedSequence`, int64 (n_tokens,).
    counts (Tensor): number of running sequences at each time step, descending, (n_steps,).
    masks (Tensor | None): for recurrent dropout, the factors m of each sequence, in the order of
        the first time step, (n_directions, counts[0], units).
    shared (SharedInput | None): the first columns of the input, if tokens share them; not
        prepared. `vectors` are then the other columns. The product of shared columns with the
        weights is computed once per row of the table, not once per token.
    RETURNS (list[Tensor]): for each direction the states by place in the packed sequence,
        (n_tokens, units).
    """
    # W_i x + b_i, in the order of each direction, (n_directions, n_tokens, 3 * units)
    parameters = [dict(rnn.named_parameters()) for rnn in directions]
    projections = torch.stack(
        [
            _project(own["weight_ih_l0"], own["bias_ih_l0"], vectors, order, shared)
            for own, order in zip(parameters, orders, strict=True)
        ]
    )
    weights = torch.stack([own["weight_hh_l0"] for own in parameters])  # (n_directions, 3u, u)
    biases = torch.stack([own["bias_hh_l0"] for own in parameters]).unsqueeze(1)
    with torch.autocast(projections.device.type, enabled=False):
        dtype = torch.promote_types(projections.dtype, torch.float32)
        inputs = (projections.to(dtype), weights.to(dtype), biases.to(dtype))
        states: Tensor = _GRU.apply(*inputs, masks, counts.tolist())  # type: ignore[no-untyped-call]
    return list(states.unbind(0))


def project_inputs(directions: Sequence[nn.GRU], rows: Tensor) -> Tensor:
    """Project inputs, or their first columns, for `predict_gru`.

    directions (Sequence[GRU]): one layer and direction each, of the same width.
    rows (Tensor): inputs, or their first columns, (n_rows, width).
    RETURNS (Tensor): W_i x + b_i of each direction, with the part for n doubled,
        (n_rows, n_directions * 3 * units); float64 for a float64 network, otherwise float32.
    """
    width, units = rows.shape[1], directions[0].hidden_size
    parameters = [dict(rnn.named_parameters()) for rnn in directions]
    weight = torch.cat([own["weight_ih_l0"][:, :width] for own in parameters])
    bias = torch.cat([own["bias_ih_l0"] for own in parameters])
    projected = nn.functional.linear(rows, weight, bias)
    projected = projected.to(torch.promote_types(projected.dtype, torch.float32))
    projected.view(len(rows), len(directions), 3, units)[:, :, 2].mul_(2.0)
    return projected


class Recurrence(NamedTuple):
    """W_h and b_h of the directions of a layer, in the layout that `predict_gru` uses.

    weights (Tensor): (n_directions, units, 3 * units).
    biases (Tensor): (n_directions, 1, 3 * units).
    """

    weights: Tensor
    biases: Tensor

    @classmethod
    def of(cls, directions: Sequence[nn.GRU], dtype: torch.dtype) -> "Recurrence":
        """Copy the parameters of a layer.

        directions (Sequence[GRU]): one layer and direction each, of the same width.
        dtype (dtype): type of the copy, in which the products are computed.
        RETURNS (Recurrence): the copy.
        """
        parameters = [dict(rnn.named_parameters()) for rnn in directions]
        weights = torch.stack([own["weight_hh_l0"].t() for own in parameters])
        biases = torch.stack([own["bias_hh_l0"] for own in parameters]).unsqueeze(1)
        return cls(weights.to(dtype), biases.to(dtype))


def predict_gru(  # noqa: PLR0917
    directions: Sequence[nn.GRU],
    backward: Sequence[bool],
    lengths: np.ndarray,
    vectors: Tensor,
    recurrence: Recurrence,
    shared: SharedInput | None = None,
) -> Tensor:
    """Run the directions of one layer without a gradient.

    A fixed number of sequences of similar length runs in parallel. So the time per token does not
    depend on the batch size, and neither does the memory, except for inputs and outputs. The
    products W_h h are computed in the type of `recurrence`, everything else in the type of the
    parameters.

    directions (Sequence[GRU]): one layer and direction each, of the same width.
    backward (Sequence[bool]): whether each direction runs from the last token to the first.
    lengths (ndarray): tokens of each sequence, zeros allowed, int64 (n_sequences,).
    vectors (Tensor): one row per token, (n_tokens, width).
    recurrence (Recurrence): the recurrent weights of these directions.
    shared (SharedInput | None): the first columns of the input, if tokens share them, prepared or
        not. `vectors` are then the other columns, possibly of width 0.
    RETURNS (Tensor): states, (n_tokens, n_directions * units).
    """
    units, n_directions = directions[0].hidden_size, len(directions)
    weights, biases = recurrence
    like = next(directions[0].parameters())
    if shared is not None and not shared.is_prepared:
        shared = SharedInput(project_inputs(directions, shared.table), shared.index, True)
    minus_one = torch.tensor(-1.0, dtype=like.dtype)
    states = like.new_empty((len(vectors) * n_directions, units))
    direction = torch.arange(n_directions).unsqueeze(1)
    gates = (2 * units, units)
    for tokens, counts, is_first in _blocks(lengths, backward):
        inputs = _gather(directions, tokens, vectors, shared)
        if is_first:
            h = like.new_zeros((n_directions, counts[0], units))
        block = like.new_empty((n_directions, tokens.shape[1], units))
        x_rz, x_n = inputs.split(gates, 2)
        steps = (x_rz.split(counts, 1), x_n.split(counts, 1), block.split(counts, 1))
        n_rows = 0
        for of_rz, of_n, out in zip(*steps, strict=True):
            if n_rows != out.shape[1]:
                # For few rows, a step costs as much as its function calls. These are made once for
                # all steps with the same number of rows.
                n_rows = out.shape[1]
                h = h[:, :n_rows]
                hidden = weights.new_empty((n_directions, n_rows, 3 * units))
                hidden_rz, candidate = hidden.split(gates, 2)
                rz = like.new_empty((n_directions, n_rows, 2 * units))
                r, z = rz.split(units, 2)
            torch.baddbmm(biases, h.to(weights.dtype), weights, out=hidden)
            torch.add(of_rz, hidden_rz, out=rz).sigmoid_()
            # tanh a = 2 σ(2a) - 1. torch's σ is several times faster than its tanh.
            n = torch.addcmul(of_n, r, candidate, value=2.0).sigmoid_()
            n = torch.add(minus_one, n, alpha=2.0)
            h = torch.lerp(n, h, z, out=out)
        places = (tokens * n_directions + direction).flatten()
        states.index_copy_(0, places, block.flatten(0, 1))
    return states.view(len(vectors), n_directions * units)


def _blocks(
    lengths: np.ndarray, backward: Sequence[bool]
) -> Iterator[tuple[Tensor, list[int], bool]]:
    # Yield blocks of consecutive time steps of sequences that run in parallel: the tokens in the
    # order of each direction, int64 (n_directions, n_tokens); the number of sequences at each
    # step; and whether the block contains the first step.
    first = lengths.cumsum() - lengths
    by_length = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    for begin in range(0, len(by_length), _ROWS):
        rows = by_length[begin : begin + _ROWS]
        orders = [TimeSteps(lengths[rows], first=first[rows], backward=back) for back in backward]
        tokens = torch.from_numpy(np.stack([steps.order for steps in orders]))
        begins, counts = orders[0].begins, orders[0].counts
        # A block ends with the step that fills it.
        ends = np.flatnonzero(np.diff(begins // _BLOCK)) + 1
        for block in np.split(np.arange(len(counts)), ends):
            here = slice(begins[block[0]], begins[block[-1]] + counts[block[-1]])
            yield tokens[:, here], counts[block].tolist(), bool(block[0] == 0)


def _gather(
    directions: Sequence[nn.GRU],
    tokens: Tensor,
    vectors: Tensor,
    shared: SharedInput | None,
) -> Tensor:
    # W_i x + b_i of the tokens of each direction, with the part for n doubled,
    # (n_directions, n_tokens, 3 * units).
    if shared is None:
        read = [
            project_inputs([rnn], vectors[own]) for rnn, own in zip(directions, tokens, strict=True)
        ]
        return torch.stack(read)
    table, n_directions = shared.table, len(directions)
    rows = shared.index[tokens] * n_directions + torch.arange(n_directions).unsqueeze(1)
    flat = table.view(len(table) * n_directions, -1).index_select(0, rows.flatten())
    inputs = flat.view(*tokens.shape, -1)
    if vectors.shape[1]:
        for rnn, own, read in zip(directions, tokens, inputs, strict=True):
            weight = dict(rnn.named_parameters())["weight_ih_l0"][:, -vectors.shape[1] :].clone()
            weight[2 * rnn.hidden_size :] *= 2.0
            read.addmm_(vectors[own], weight.t())  # in place, as the inputs are the widest array
    return inputs


def _project(
    weight: Tensor,
    bias: Tensor,
    vectors: Tensor,
    order: Tensor,
    shared: SharedInput | None,
) -> Tensor:
    if shared is None:
        return nn.functional.linear(vectors, weight, bias).index_select(0, order)
    width = shared.table.shape[1]
    # The gradient of `index_select` is several times faster on a CPU than that of indexing.
    projected = nn.functional.linear(shared.table, weight[:, :width], bias)
    projected = projected.index_select(0, shared.index[order])
    if vectors.shape[1]:
        projected = projected + nn.functional.linear(vectors, weight[:, width:]).index_select(
            0, order
        )
    return projected


class _GRU(torch.autograd.Function):
    """The recurrence with an explicit gradient."""

    @staticmethod
    def forward(  # noqa: PLR0917 - `apply` takes no keywords
        ctx: Any,
        projections: Tensor,
        weights: Tensor,
        biases: Tensor,
        masks: Tensor | None,
        counts: list[int],
    ) -> Tensor:
        shape = (*projections.shape[:2], weights.shape[2])
        units = weights.shape[2]
        gates = torch.empty_like(projections)  # r, z, n
        candidates = projections.new_empty(shape)  # W_hn h + b_hn
        previous = projections.new_empty(shape)  # h_{t-1}
        transposed = weights.transpose(1, 2)
        states = projections.new_empty(shape)  # h_t
        h = projections.new_zeros((len(projections), counts[0], units))
        start = 0
        for count in counts:
            step = slice(start, start + count)
            h = h[:, :count]
            read = h if masks is None else h * masks[:, :count]
            hidden = torch.baddbmm(biases, read, transposed)  # (n_directions, count, 3 * units)
            candidate = hidden[:, :, 2 * units :]
            x, gate = projections[:, step], gates[:, step]
            rz, n = gate[:, :, : 2 * units], gate[:, :, 2 * units :]
            torch.add(x[:, :, : 2 * units], hidden[:, :, : 2 * units], out=rz).sigmoid_()
            torch.addcmul(x[:, :, 2 * units :], rz[:, :, :units], candidate, out=n).tanh_()
            candidates[:, step] = candidate
            previous[:, step] = h
            h = torch.lerp(n, h, rz[:, :, units:], out=states[:, step])
            start += count
        ctx.counts = counts
        ctx.save_for_backward(gates, candidates, previous, weights, masks)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        return (*_backward(ctx, gradients[0]), None, None)


def _backward(ctx: Any, d_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gates, candidates, previous, weights, masks = ctx.saved_tensors
    r, z, n = gates.chunk(3, 2)
    units = r.shape[2]
    # For all steps at once: the derivatives of h_t by the arguments of the three non-linearities.
    # They do not depend on the gradient that arrives from the next step.
    by_z = (previous - n) * z * (1.0 - z)
    by_n = (1.0 - z) * (1.0 - n * n)
    by_r = by_n * candidates * r * (1.0 - r)
    by_hidden = torch.cat([by_r, by_z, by_n * r], 2)
    d_hidden = torch.empty_like(by_hidden)
    d_n = torch.empty_like(by_n)
    d_h = d_states.new_zeros((d_states.shape[0], 0, units))
    end = d_states.shape[1]
    for count in reversed(ctx.counts):
        step = slice(end - count, end)
        d_state = d_states[:, step].clone()
        d_state[:, : d_h.shape[1]] += d_h
        step_hidden = torch.mul(by_hidden[:, step].unflatten(2, (3, units)), d_state.unsqueeze(2))
        step_hidden = step_hidden.flatten(2)
        d_hidden[:, step] = step_hidden
        d_n[:, step] = by_n[:, step] * d_state
        carried = d_state * z[:, step]
        if masks is None:
            d_h = torch.baddbmm(carried, step_hidden, weights)
        else:
            d_h = carried.addcmul_(torch.bmm(step_hidden, weights), masks[:, :count])
        end -= count
    if masks is not None:
        rows = torch.cat([torch.arange(count, device=masks.device) for count in ctx.counts])
        previous = previous * masks[:, rows]  # the input of the recurrent products
    d_weights = torch.bmm(d_hidden.transpose(1, 2), previous)
    d_biases = d_hidden.sum(1, keepdim=True)
    d_projections = torch.cat([d_hidden[:, :, : 2 * units], d_n], 2)
    return d_projections, d_weights, d_biases
