"""One recurrent layer on a CPU: all its directions at once, over a batch that shrinks.

torch's own GRU leaves each time step's operations, and the gradient of its weights, to autograd. On
a CPU that costs several times the arithmetic. Here a step of both directions is one batched matrix
product, rows that have ended take no part, and the weights' gradient is one product over all steps.
The symbols are those of torch.nn.GRU's documentation:
r_t = σ(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr), z_t = σ(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz),
n_t = tanh(W_in x_t + b_in + r_t ∘ (W_hn h_{t-1} + b_hn)), h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t-1}.
Recurrent dropout writes m ∘ h_{t-1} in the three products W_h h_{t-1}, and not in z_t ∘ h_{t-1}.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def run_gru(
    directions: Sequence[nn.GRU],
    vectors: Tensor,
    orders: Sequence[Tensor],
    counts: Tensor,
    masks: Tensor | None = None,
    *,
    shared: tuple[Tensor, Tensor] | None = None,
) -> list[Tensor]:
    """Run the directions of one layer over packed sequences.

    directions (Sequence[GRU]): one layer and direction each, of the same width.
    vectors (Tensor): one row per token, (n_tokens, input_width).
    orders (Sequence[Tensor]): for each direction the token at each place of the packed sequence,
        (n_tokens,), as `torch.nn.utils.rnn.PackedSequence` orders them.
    counts (Tensor): sequences that are running at each time step, descending, (n_steps,).
    masks (Optional[Tensor]): recurrent dropout: the factors m of each sequence, in the order of the
        first time step, (n_directions, counts[0], units).
    shared (Optional[Tuple[Tensor, Tensor]]): the first columns of the input where tokens share
        them, (n_rows, shared_width), and each token's row, (n_tokens,); `vectors` are the other
        columns. Their product with the weights is computed once per row, not once per token.
    RETURNS (List[Tensor]): states by place in the packed sequence, (n_tokens, units) each.
    """
    # (n_directions, n_tokens, 3 * units): W_i x + b_i, in the order in which each direction reads
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
        if any(tensor.requires_grad for tensor in inputs):
            states: Tensor = _GRU.apply(*inputs, masks, counts.tolist())  # type: ignore[no-untyped-call]
        else:
            states = _recur(*inputs, masks, counts=counts.tolist())
    return list(states.unbind(0))


def _project(
    weight: Tensor,
    bias: Tensor,
    vectors: Tensor,
    order: Tensor,
    shared: tuple[Tensor, Tensor] | None,
) -> Tensor:
    if shared is None:
        return nn.functional.linear(vectors, weight, bias).index_select(0, order)
    rows, row = shared
    width = rows.shape[1]
    # `index_select`, as the gradient of indexing is several times slower on a CPU.
    projected = nn.functional.linear(rows, weight[:, :width], bias).index_select(0, row[order])
    if vectors.shape[1]:
        projected = projected + nn.functional.linear(vectors, weight[:, width:])[order]
    return projected


class _GRU(torch.autograd.Function):
    """The recurrence, with its gradient written out."""

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
        gates = torch.empty_like(projections)  # r, z, n
        candidates = projections.new_empty(shape)  # W_hn h + b_hn
        previous = projections.new_empty(shape)  # h_{t-1}
        kept = (gates, candidates, previous)
        states = _recur(projections, weights, biases, masks, counts=counts, kept=kept)
        ctx.counts = counts
        ctx.save_for_backward(*kept, weights, masks)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        return (*_backward(ctx, gradients[0]), None, None)


def _recur(
    projections: Tensor,
    weights: Tensor,
    biases: Tensor,
    masks: Tensor | None,
    *,
    counts: list[int],
    kept: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    # `kept` has room for what the gradient needs: gates, candidates, previous states. Prediction
    # gives none, and its gates overwrite the projections.
    gates = projections if kept is None else kept[0]
    units = weights.shape[2]
    transposed = weights.transpose(1, 2)
    states = projections.new_empty((*projections.shape[:2], units))  # h_t
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
        if kept is not None:
            kept[1][:, step] = candidate
            kept[2][:, step] = h
        h = torch.lerp(n, h, rz[:, :, units:], out=states[:, step])
        start += count
    return states


def _backward(ctx: Any, d_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gates, candidates, previous, weights, masks = ctx.saved_tensors
    r, z, n = gates.chunk(3, 2)
    units = r.shape[2]
    # What does not depend on the gradient that comes from the step behind, for all steps at once:
    # the derivatives of h_t by the arguments of the three non-linearities.
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
        previous = previous * masks[:, rows]  # what the weights have read
    d_weights = torch.bmm(d_hidden.transpose(1, 2), previous)
    d_biases = d_hidden.sum(1, keepdim=True)
    d_projections = torch.cat([d_hidden[:, :, : 2 * units], d_n], 2)
    return d_projections, d_weights, d_biases
