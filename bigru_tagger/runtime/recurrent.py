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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..errors import ConfigError
from ..stages import ENCODE, stage
from ..time_steps import TimeSteps
from .storage import Weights

DIRECTIONS = ("forward_layer", "backward_layer")
"""Names of the directions in saved files."""

# The factors of the pre-activations of each gate, in torch's order: r, z, n and i, f, g, o.
_FACTORS = {"gru": (-1.0, -1.0, -2.0), "lstm": (-1.0, -1.0, -2.0, -1.0)}
# Tokens whose inputs are gathered at once.
_BLOCK = 4096
# Cells of the gates of a time step. With this many (320 KiB), a step fits into the cache of a core,
# and the matrix product still runs at full speed.
_CELLS = 80 * 1024
# With at most this many rows, a step of both directions at once is faster than one after the other.
_FEW = 16
_ONE, _TWO = np.float32(1.0), np.float32(2.0)

Shared: TypeAlias = tuple[np.ndarray, np.ndarray]
"""The output of `Layer.project`, (n_rows, ...), and each token's row in it, int64 (n_tokens,)."""


@dataclass(frozen=True)
class _Run:
    # Consecutive time steps of sequences that run in parallel, in one direction or in all.
    directions: range
    direction: np.ndarray  # of each row, int64 (n_rows,) or ()
    tokens: np.ndarray  # of each row, by time step, direction and sequence, int64 (n_rows,)
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
        n_gates = len(_FACTORS[cell])
        names = DIRECTIONS if bidirectional else DIRECTIONS[:1]
        self.n_directions = len(names)
        self.width = units * self.n_directions
        # Sequences that run in parallel.
        self.n_rows = max(_CELLS // (n_gates * units), 1)
        self._cell = cell
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
        n_tokens = sum(len(run.tokens) for run in runs) // self.n_directions
        states = np.empty((n_tokens, self.n_directions, self.units), np.float32)
        step = _gru if self._cell == "gru" else _lstm
        buffers = _Buffers()
        state: list[np.ndarray] = []
        for run in runs:
            inputs = self._gather(run, shared, columns, buffers)
            if run.is_first:
                shape = (len(run.directions), run.counts[0], self.units)
                state = [np.zeros(shape, np.float32) for _ in range(2)]
            output = buffers.get("output", (len(run.tokens), self.units))
            step(self._weights, run, inputs, state, output)
            states[run.tokens, run.direction] = output
        return states.reshape(n_tokens, self.width)

    def _gather(
        self, run: _Run, shared: Shared | None, columns: np.ndarray | None, buffers: "_Buffers"
    ) -> np.ndarray:
        # The projected inputs, (n_gates, n_rows, units).
        weights = self._weights
        n_gates = weights.biases.shape[1]
        inputs = buffers.get("inputs", (n_gates, len(run.tokens), self.units))
        if shared is not None:
            table, index = shared
            n_parts = self.n_directions * n_gates
            rows = index[run.tokens] * n_parts + run.direction * n_gates + _column(n_gates)
            parts = table.reshape(len(table) * n_parts, self.units)
            # The rows exist, see `Encoder`. "clip" avoids another buffer.
            parts.take(rows, 0, out=inputs, mode="clip")
        if columns is not None:
            begin = len(weights.inputs) - columns.shape[1]
            for direction in run.directions:
                own = weights.inputs[begin:, direction].swapaxes(0, 1)  # (n_gates, width, units)
                bias = weights.biases[direction]
                if len(run.directions) > 1:
                    rows = np.flatnonzero(run.direction == direction)
                    products = np.matmul(columns[run.tokens[rows]], own)
                    inputs[:, rows] = products + (bias if shared is None else inputs[:, rows])
                elif shared is None:
                    np.matmul(columns[run.tokens], own, out=inputs)
                    inputs += bias
                else:
                    inputs += np.matmul(columns[run.tokens], own)
        return inputs


def _column(size: int) -> np.ndarray:
    return np.arange(size)[:, None]


class _Buffers:
    # Memory that is used again. New pages of memory take time at their first use.

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def get(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape)
        array = self._arrays.get(name)
        if array is None or len(array) < size:
            array = self._arrays[name] = np.empty(size, np.float32)
        return array[:size].reshape(shape)


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
            raise ConfigError(f"'cell' must be one of {list(_FACTORS)}; got {cell!r}")
        if any(units < 1 for units in hidden):
            raise ConfigError(f"hidden widths must be positive; got {list(hidden)}")
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
        RAISES (IndexError): if a row is not in the table.
        """
        if not lengths.any():
            return np.zeros((0, self.width), np.float32)
        if shared is not None and not 0 <= shared[1].min() <= shared[1].max() < len(shared[0]):
            raise IndexError(f"a token's row is not in the table of {len(shared[0])} words")
        if not self.layers:
            parts = [] if shared is None else [shared[0][shared[1]]]
            parts += [] if columns is None else [columns]
            return np.concatenate(parts, 1)
        runs: dict[int, list[_Run]] = {}
        for layer in self.layers:
            n_rows = layer.n_rows
            if n_rows not in runs:
                runs[n_rows] = list(_plan(lengths, n_rows, layer.n_directions))
            columns = layer(runs[n_rows], shared, columns)
            shared = None
        assert columns is not None
        return columns


def _plan(lengths: np.ndarray, n_rows: int, n_directions: int) -> Iterator[_Run]:
    # Sequences of similar length run in parallel, a fixed number at a time. So the time per token
    # does not depend on the batch size, and neither does the memory, except for the output.
    first = lengths.cumsum() - lengths
    by_length = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    # Few sequences run in all directions at once, as a step takes as long as its function calls.
    n_parallel = n_directions if len(by_length) <= _FEW else 1
    if len(by_length) == 1:
        # One short text is common, and all of this takes a third of its time.
        length, start = int(lengths.sum()), int(first[by_length[0]])
        tokens = np.arange(start, start + length)
        tokens = np.stack([tokens, tokens[::-1]][:n_directions], 1).reshape(-1)
        direction = np.tile(np.arange(n_directions), length)
        yield from _split(tokens, range(n_directions), direction, np.ones(length, np.int64))
        return
    for begin in range(0, len(by_length), n_rows):
        rows = by_length[begin : begin + n_rows]
        orders = [
            TimeSteps(lengths[rows], first=first[rows], backward=backward)
            for backward in (False, True)[:n_directions]
        ]
        counts = orders[0].counts
        if n_parallel == 1:
            for number, steps in enumerate(orders):
                yield from _split(steps.order, range(number, number + 1), np.array(number), counts)
        else:
            step = np.repeat(np.arange(len(counts)), counts)
            by_step = np.argsort(np.tile(step, n_directions), kind="stable")
            tokens = np.concatenate([steps.order for steps in orders])[by_step]
            direction = np.repeat(np.arange(n_directions), len(step))[by_step]
            yield from _split(tokens, range(n_directions), direction, counts)


def _split(
    tokens: np.ndarray, directions: range, direction: np.ndarray, counts: np.ndarray
) -> Iterator[_Run]:
    # Split time steps into runs. A run ends with the step that fills it.
    ends = counts.cumsum() * len(directions)  # rows until the end of each step
    last = [*np.flatnonzero(np.diff((ends - counts) // _BLOCK)).tolist(), len(counts) - 1]
    begin = start = 0
    for step in last:
        here = slice(start, int(ends[step]))
        yield _Run(
            directions,
            direction if direction.ndim == 0 else direction[here],
            tokens[here],
            counts[begin : step + 1].tolist(),
            is_first=begin == 0,
        )
        begin, start = step + 1, here.stop


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


class _Rows:
    # The arrays of a time step, for a number of sequences.

    def __init__(self, weights: _Derived, run: _Run, count: int) -> None:
        n_directions = len(run.directions)
        _, n_gates, units, _ = weights.recurrent.shape
        self.n_rows = n_directions * count
        self.gates = np.empty((n_gates, self.n_rows, units), np.float32)
        # W_h h of all gates is one call: h and W_h are broadcast to the shape of the products.
        if n_directions == 1:
            direction = run.directions[0]
            self.recurrent, self.bias = weights.recurrent[direction], weights.candidate[direction]
            self.shape: tuple[int, ...] = (count, units)  # of h
            self.products: np.ndarray = self.gates
        else:
            self.recurrent = weights.recurrent
            self.bias = weights.candidate.repeat(count, 1).reshape(self.n_rows, units)
            self.shape = (n_directions, 1, count, units)
            self.products = self.gates.reshape(n_gates, n_directions, count, units).swapaxes(0, 1)


def _gru(
    weights: _Derived, run: _Run, inputs: np.ndarray, state: list[np.ndarray], output: np.ndarray
) -> None:
    # inputs (3, n_rows, units), state [h] (n_directions, n_sequences, units), output
    # (n_rows, units).
    matmul, exp = np.matmul, np.exp
    add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
    n_directions, units = len(run.directions), inputs.shape[2]
    inputs_rz, inputs_n = inputs[:2], inputs[2]
    h = state[0]
    begin = last = 0
    for count in run.counts:
        if count != last:
            last = count
            h = h.reshape(n_directions, -1, units)[:, :count].reshape(-1, units)
            rows = _Rows(weights, run, count)
            recurrent, products, shape = rows.recurrent, rows.products, rows.shape
            bias, n_rows = rows.bias, rows.n_rows
            rz, r, z, n = rows.gates[:2], *rows.gates
        end = begin + n_rows
        out = output[begin:end]
        matmul(h.reshape(shape), recurrent, out=products)
        add(rz, inputs_rz[:, begin:end], out=rz)
        exp(rz, out=rz)
        add(rz, _ONE, out=rz)
        divide(_ONE, rz, out=rz)
        add(n, bias, out=n)
        multiply(n, r, out=n)
        add(n, inputs_n[begin:end], out=n)
        exp(n, out=n)
        add(n, _ONE, out=n)
        divide(_TWO, n, out=n)
        subtract(n, _ONE, out=n)
        subtract(h, n, out=out)
        multiply(out, z, out=out)
        add(out, n, out=out)
        h = out
        begin = end
    state[0] = h.copy()  # the memory of the output is used again


def _lstm(
    weights: _Derived, run: _Run, inputs: np.ndarray, state: list[np.ndarray], output: np.ndarray
) -> None:
    # As `_gru`, with state [h, c]. c_t = f ∘ c_{t-1} + i ∘ g, h_t = o ∘ tanh(c_t).
    n_directions, units = len(run.directions), inputs.shape[2]
    h, c = state
    begin = last = 0
    for count in run.counts:
        if count != last:
            last = count
            h, c = (
                part.reshape(n_directions, -1, units)[:, :count].reshape(-1, units)
                for part in (h, c)
            )
            rows = _Rows(weights, run, count)
            gates = rows.gates
            i, f, g, o = gates
        end = begin + rows.n_rows
        out = output[begin:end]
        np.matmul(h.reshape(rows.shape), rows.recurrent, out=rows.products)
        np.add(gates, inputs[:, begin:end], out=gates)
        np.exp(gates, out=gates)
        np.add(gates, _ONE, out=gates)
        np.divide(_ONE, gates, out=gates)
        np.multiply(g, _TWO, out=g)
        np.subtract(g, _ONE, out=g)
        np.multiply(g, i, out=g)
        np.multiply(c, f, out=c)
        np.add(c, g, out=c)
        np.multiply(c, -_TWO, out=out)
        np.exp(out, out=out)
        np.add(out, _ONE, out=out)
        np.divide(_TWO, out, out=out)
        np.subtract(out, _ONE, out=out)
        np.multiply(out, o, out=out)
        h = out
        begin = end
    state[:] = h.copy(), c
