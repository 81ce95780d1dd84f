"""Recurrent layers in NumPy: GRU and LSTM, one direction or two. For prediction on a CPU.

The symbols are those of the documentation of torch.nn.GRU and torch.nn.LSTM. For the GRU:
r_t = σ(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr), z_t = σ(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz),
n_t = tanh(W_in x_t + b_in + r_t ∘ (W_hn h_{t-1} + b_hn)), h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t-1}.

A time step is a few operations on whole arrays, in place:

- Its sequences run in parallel, in both directions. Sequences that have ended are left out.
- σ(a) = 1 / (1 + exp(−a)) and tanh(a) = 2 σ(2a) − 1. The copies of the weights have the sign and
  the factor already, so 1 / (1 + exp(a)) remains. exp(a) may overflow to infinity, which is right.
- Biases are part of the projected inputs, except for b_hn.
- The arrays of a step have the axes (direction, gate, sequence, unit), so the values of a gate are
  contiguous.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..stages import ENCODE, stage
from ..time_steps import TimeSteps
from .storage import Weights

DIRECTIONS = ("forward_layer", "backward_layer")
"""Names of the directions in saved files."""

# The factors of the pre-activations of each gate, in torch's order: r, z, n and i, f, g, o.
_FACTORS = {"gru": (-1.0, -1.0, -2.0), "lstm": (-1.0, -1.0, -2.0, -1.0)}
# Tokens whose inputs are gathered at once.
_BLOCK = 4096
_ONE, _TWO = np.float32(1.0), np.float32(2.0)

Shared: TypeAlias = tuple[np.ndarray, np.ndarray]
"""The output of `Layer.project`, (n_rows, ...), and each token's row in it, int64 (n_tokens,)."""


@dataclass(frozen=True)
class _Run:
    # Consecutive time steps of sequences that run in parallel.
    tokens: np.ndarray  # in the order of each direction, int64 (n_directions, n_tokens)
    counts: list[int]  # number of sequences at each step
    is_first: bool  # whether it contains the first step


class Layer:
    """One recurrent layer. Its derived weights are computed at the first call."""

    def __init__(
        self, weights: Weights, input_width: int, units: int, cell: str, bidirectional: bool
    ) -> None:
        """Take the parameters.

        weights (Weights): the parameters of the layer.
        input_width (int): width of the input vectors.
        units (int): units of each direction.
        cell (str): "gru" or "lstm".
        bidirectional (bool): whether there is a backward direction.
        RAISES (ValueError): if a parameter is missing, or has another shape.
        """
        self.units = units
        names = DIRECTIONS if bidirectional else DIRECTIONS[:1]
        self.n_directions = len(names)
        self.width = units * self.n_directions
        self._cell = cell
        n_gates = len(_FACTORS[cell])
        shapes = {"ih": (n_gates * units, input_width), "hh": (n_gates * units, units)}
        self._parameters = [
            {
                **{f"weight_{to}": own.take(f"weight_{to}_l0", *shapes[to]) for to in shapes},
                **{f"bias_{to}": own.take(f"bias_{to}_l0", n_gates * units) for to in shapes},
            }
            for own in map(weights.under, names)
        ]
        self._derived: _Derived | None = None

    @property
    def _weights(self) -> "_Derived":
        if self._derived is None:
            self._derived = _derive(self._parameters, self._cell, self.units)
        return self._derived

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Compute the part of the pre-activations that depends on the input only.

        rows (ndarray): inputs, or their first columns, float32 (n_rows, width).
        RETURNS (ndarray): the biases and the product with the input weights, float32
            (n_rows, n_directions * n_gates * units).
        """
        inputs, biases = self._weights.inputs, self._weights.biases
        projected: np.ndarray = rows @ inputs[: rows.shape[1]].reshape(rows.shape[1], -1)
        projected += biases.reshape(-1)
        return projected

    def __call__(
        self, runs: Sequence[_Run], shared: Shared | None, columns: np.ndarray | None
    ) -> np.ndarray:
        """Compute the states.

        runs (Sequence[_Run]): the time steps.
        shared (Shared | None): the projected first columns of the input, if tokens share them.
        columns (ndarray | None): the other columns, float32 (n_tokens, width).
        RETURNS (ndarray): the states, float32 (n_tokens, n_directions * units).
        """
        n_tokens = sum(run.tokens.shape[1] for run in runs)
        states = np.empty((n_tokens, self.n_directions, self.units), np.float32)
        step = _gru if self._cell == "gru" else _lstm
        state: list[np.ndarray] = []
        for run in runs:
            inputs = self._gather(run.tokens, shared, columns)
            if run.is_first:
                shape = (self.n_directions, 1, run.counts[0], self.units)
                state = [np.zeros(shape, np.float32) for _ in range(2)]
            output = np.empty((self.n_directions, 1, run.tokens.shape[1], self.units), np.float32)
            step(self._weights, inputs, run.counts, state, output)
            for direction, tokens in enumerate(run.tokens):
                states[tokens, direction] = output[direction, 0]
        return states.reshape(n_tokens, self.width)

    def _gather(
        self, tokens: np.ndarray, shared: Shared | None, columns: np.ndarray | None
    ) -> np.ndarray:
        # The projected inputs, (n_directions, n_gates, n_tokens, units).
        weights = self._weights
        inputs: np.ndarray | None = None
        if shared is not None:
            table, index = shared
            n_parts = weights.biases.shape[0] * weights.biases.shape[1]
            parts = np.arange(n_parts).reshape(*weights.biases.shape[:2], 1)
            rows = index[tokens][:, None] * n_parts + parts
            inputs = table.reshape(len(table) * n_parts, self.units).take(rows, 0)
        if columns is not None:
            own = weights.inputs[len(weights.inputs) - columns.shape[1] :].transpose(1, 2, 0, 3)
            products = np.matmul(columns[tokens][:, None], own)
            products += weights.biases if inputs is None else inputs
            inputs = products
        assert inputs is not None
        return inputs


class Encoder:
    """Stacked recurrent layers, or none."""

    def __init__(
        self,
        weights: Weights,
        input_width: int,
        hidden: Sequence[int],
        cell: str = "gru",
        bidirectional: bool = True,
    ) -> None:
        """Take the parameters.

        weights (Weights): the parameters of the encoder.
        input_width (int): width of the input vectors.
        hidden (Sequence[int]): units of each layer and direction, from the bottom up.
        cell (str): "gru" or "lstm".
        bidirectional (bool): whether there is a backward direction.
        RAISES (ValueError): if the cell is unknown, a number of units is not positive, or the
            parameters do not fit.
        """
        if cell not in _FACTORS:
            raise ValueError(f"'cell' must be one of {list(_FACTORS)}; got {cell!r}")
        if any(units < 1 for units in hidden):
            raise ValueError(f"hidden widths must be positive; got {list(hidden)}")
        self.layers: list[Layer] = []
        self.width = input_width
        for number, units in enumerate(hidden):
            own = weights.under("layers").under(str(number))
            layer = Layer(own, self.width, units, cell, bidirectional)
            self.layers.append(layer)
            self.width = layer.width

    def prepare(self, rows: np.ndarray) -> np.ndarray:
        """Project the first columns of the input, which tokens share.

        rows (ndarray): the columns, float32 (n_rows, shared_width).
        RETURNS (ndarray): the table for `__call__`, float32 (n_rows, prepared_width).
        """
        return self.layers[0].project(rows) if self.layers else rows

    @stage(ENCODE)
    def __call__(
        self, lengths: np.ndarray, shared: Shared | None, columns: np.ndarray | None
    ) -> np.ndarray:
        """Encode sequences.

        lengths (ndarray): tokens of each sequence, zeros allowed, int64 (n_sequences,).
        shared (Shared | None): the output of `prepare`, and each token's row in it; None if tokens
            share no columns.
        columns (ndarray | None): the other columns, one row per token, float32 (n_tokens, width);
            None if there are none.
        RETURNS (ndarray): the states, float32 (n_tokens, width).
        """
        if not lengths.any():
            return np.zeros((0, self.width), np.float32)
        if not self.layers:
            parts = [] if shared is None else [shared[0][shared[1]]]
            parts += [] if columns is None else [columns]
            return np.concatenate(parts, 1)
        runs: dict[int, list[_Run]] = {}
        for layer in self.layers:
            n_rows = _rows_at_once(layer.units)
            if n_rows not in runs:
                runs[n_rows] = list(_plan(lengths, n_rows, layer.n_directions))
            columns = layer(runs[n_rows], shared, columns)
            shared = None
        assert columns is not None
        return columns


def _rows_at_once(units: int) -> int:
    # Sequences that run in parallel.
    return 144 if units > 160 else 192


def _plan(lengths: np.ndarray, n_rows: int, n_directions: int) -> Iterator[_Run]:
    # Sequences of similar length run in parallel, a fixed number at a time. So the time per token
    # does not depend on the batch size, and neither does the memory, except for the output.
    first = lengths.cumsum() - lengths
    by_length = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    for begin in range(0, len(by_length), n_rows):
        rows = by_length[begin : begin + n_rows]
        orders = [
            TimeSteps(lengths[rows], first=first[rows], backward=backward)
            for backward in (False, True)[:n_directions]
        ]
        tokens = np.stack([steps.order for steps in orders])
        begins, counts = orders[0].begins, orders[0].counts
        if tokens.shape[1] <= _BLOCK:
            yield _Run(tokens, counts.tolist(), True)
            continue
        # A run ends with the step that fills it.
        ends = np.flatnonzero(np.diff(begins // _BLOCK)) + 1
        for steps in np.split(np.arange(len(counts)), ends):
            here = slice(begins[steps[0]], begins[steps[-1]] + counts[steps[-1]])
            yield _Run(tokens[:, here], counts[steps].tolist(), bool(steps[0] == 0))


@dataclass(frozen=True)
class _Derived:
    # The parameters of all directions, multiplied by the factors of their gates.
    inputs: np.ndarray  # W_i, (input_width, n_directions, n_gates, units)
    recurrent: np.ndarray  # W_h, (n_directions, n_gates, units, units)
    biases: np.ndarray  # b_i + b_h without b_hn, (n_directions, n_gates, 1, units)
    candidate: np.ndarray  # b_hn, (n_directions, 1, units)


def _derive(parameters: Sequence[dict[str, np.ndarray]], cell: str, units: int) -> _Derived:
    factors = np.array(_FACTORS[cell], np.float32)[:, None, None]
    n_gates = len(factors)

    def scaled(name: str) -> np.ndarray:  # (n_directions, n_gates, units, ...)
        parts = np.stack([own[name].reshape(n_gates, units, -1) for own in parameters])
        product: np.ndarray = parts * factors
        return product

    inner = scaled("bias_hh").swapaxes(2, 3)  # (n_directions, n_gates, 1, units)
    candidate = np.zeros_like(inner[:, 2])
    if cell == "gru":
        candidate = inner[:, 2].copy()
        inner[:, 2] = 0.0
    return _Derived(
        inputs=np.ascontiguousarray(scaled("weight_ih").transpose(3, 0, 1, 2)),
        recurrent=np.ascontiguousarray(scaled("weight_hh").swapaxes(2, 3)),
        biases=scaled("bias_ih").swapaxes(2, 3) + inner,
        candidate=candidate,
    )


def _gru(
    weights: _Derived,
    inputs: np.ndarray,
    counts: Sequence[int],
    state: list[np.ndarray],
    output: np.ndarray,
) -> None:
    # inputs (n_directions, 3, n_tokens, units), state [h] and output (n_directions, 1, n, units).
    matmul, exp, reciprocal = np.matmul, np.exp, np.reciprocal
    add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
    recurrent, bias = weights.recurrent, weights.candidate
    inputs_rz, inputs_n = inputs[:, :2], inputs[:, 2]
    h = state[0]
    begin = n_rows = 0
    for count in counts:
        if count != n_rows:
            n_rows = count
            h = h[:, :, :count]
            gates = np.empty((*inputs.shape[:2], count, inputs.shape[3]), np.float32)
            rz, r, z, n = gates[:, :2], gates[:, 0], gates[:, 1], gates[:, 2]
        end = begin + count
        out = output[:, 0, begin:end]
        matmul(h, recurrent, out=gates)
        add(rz, inputs_rz[:, :, begin:end], out=rz)
        exp(rz, out=rz)
        add(rz, _ONE, out=rz)
        reciprocal(rz, out=rz)
        add(n, bias, out=n)
        multiply(n, r, out=n)
        add(n, inputs_n[:, begin:end], out=n)
        exp(n, out=n)
        add(n, _ONE, out=n)
        divide(_TWO, n, out=n)
        subtract(n, _ONE, out=n)
        subtract(h[:, 0], n, out=out)
        multiply(out, z, out=out)
        add(out, n, out=out)
        h = output[:, :, begin:end]
        begin = end
    state[0] = h


def _lstm(
    weights: _Derived,
    inputs: np.ndarray,
    counts: Sequence[int],
    state: list[np.ndarray],
    output: np.ndarray,
) -> None:
    # As `_gru`, with state [h, c]. c_t = f ∘ c_{t-1} + i ∘ g, h_t = o ∘ tanh(c_t).
    h, c = state
    begin = n_rows = 0
    for count in counts:
        if count != n_rows:
            n_rows = count
            h, c = h[:, :, :count], c[:, :, :count]
            cell = c[:, 0]
            gates = np.empty((*inputs.shape[:2], count, inputs.shape[3]), np.float32)
            i, f, g, o = gates[:, 0], gates[:, 1], gates[:, 2], gates[:, 3]
        end = begin + count
        out = output[:, 0, begin:end]
        np.matmul(h, weights.recurrent, out=gates)
        np.add(gates, inputs[:, :, begin:end], out=gates)
        np.exp(gates, out=gates)
        np.add(gates, _ONE, out=gates)
        np.reciprocal(gates, out=gates)
        np.multiply(g, _TWO, out=g)
        np.subtract(g, _ONE, out=g)
        np.multiply(g, i, out=g)
        np.multiply(cell, f, out=cell)
        np.add(cell, g, out=cell)
        np.multiply(cell, -_TWO, out=out)
        np.exp(out, out=out)
        np.add(out, _ONE, out=out)
        np.divide(_TWO, out, out=out)
        np.subtract(out, _ONE, out=out)
        np.multiply(out, o, out=out)
        h = output[:, :, begin:end]
        begin = end
    state[:] = h, c
