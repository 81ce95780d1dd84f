"""A stacked bidirectional GRU over sequences of vectors. Batching does not change its output."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..errors import ConfigError, ModelError
from ..stages import ENCODE, stage
from .dropout import NO_DROPOUT, Dropout
from .gru import Recurrence, SharedInput, predict_gru, project_inputs, run_gru
from .layout import Layout

_FORWARD, _BACKWARD = "forward_layer", "backward_layer"
_CELLS: dict[str, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class LayerGates:
    """Gates and states of one layer and direction, with the symbols of `torch.nn.GRU`.

    layer (int): number of the layer, from 0 at the bottom.
    direction (str): "forward" or "backward".
    reset (ndarray): reset gate r_t, float32 (n_tokens, units).
    update (ndarray): update gate z_t, the weight of h_{t-1} in h_t, float32 (n_tokens, units).
    candidate (ndarray): n_t, float32 (n_tokens, units).
    states (ndarray): h_t, float32 (n_tokens, units).
    """

    layer: int
    direction: str
    reset: np.ndarray
    update: np.ndarray
    candidate: np.ndarray
    states: np.ndarray

    def most_active(self, n_units: int) -> np.ndarray:
        """Find the units with the largest mean absolute state.

        n_units (int): number of units.
        RETURNS (ndarray): indices of the units, most active first, int64 (n_units,).
        """
        activity = np.abs(self.states).mean(0)
        found: np.ndarray = np.argsort(-activity, kind="stable")[:n_units]
        return found


def locked_dropout(vectors: Tensor, layout: Layout, rate: float) -> Tensor:
    """Set the same units to zero at all time steps of a sequence, and scale up the others.

    From Gal and Ghahramani 2016, arXiv 1512.05287.

    vectors (Tensor): one row per token, (n_tokens, width).
    layout (Layout): the tokens' sequences.
    rate (float): probability that a unit is set to zero.
    RETURNS (Tensor): (n_tokens, width).
    """
    if rate <= 0.0:
        return vectors
    return vectors * _mask(vectors, (layout.n_sequences, vectors.shape[1]), rate)[layout.sequence]


def _mask(like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor:
    return torch.bernoulli(like.new_full(shape, 1.0 - rate)).div_(1.0 - rate)


class BiGRUEncoder(nn.Module):
    """Stacked recurrent layers.

    Each direction of a layer is a separate module. The backward direction reverses each sequence
    by its own length, so the output for a sequence does not depend on the rest of the batch.

    A GRU on a CPU runs on `bigru_tagger.network.gru`, everything else on torch's cells. Set
    `own_gru` to False before the first call to use torch's GRU on a CPU as well. The results differ
    only by rounding.
    """

    own_gru = True

    def __init__(
        self,
        input_width: int,
        hidden: Sequence[int],
        cell: str = "gru",
        bidirectional: bool = True,
    ) -> None:
        """Allocate the layers.

        input_width (int): width of the input vectors.
        hidden (Sequence[int]): units of each layer and direction, from the bottom up.
        cell (str): "gru" or "lstm".
        bidirectional (bool): add a backward direction, and concatenate both directions.
        RAISES (ValueError): if the cell is unknown, or a number of units is not positive.
        """
        super().__init__()
        if cell not in _CELLS:
            raise ConfigError(f"BiGRUEncoder: 'cell' must be one of {list(_CELLS)}; got {cell!r}")
        if any(units < 1 for units in hidden):
            raise ConfigError(f"BiGRUEncoder: hidden widths must be positive; got {list(hidden)}")
        directions = [_FORWARD, _BACKWARD] if bidirectional else [_FORWARD]
        self.cell = cell
        self.layers = nn.ModuleList()
        width = input_width
        for units in hidden:
            layer = {name: _CELLS[cell](width, units) for name in directions}
            for rnn in layer.values():
                _initialise(rnn)
            self.layers.append(nn.ModuleDict(layer))
            width = units * len(directions)
        self.width = width

    @stage(ENCODE)
    def forward(
        self,
        vectors: Tensor,
        layout: Layout,
        dropout: Dropout = NO_DROPOUT,
        shared: SharedInput | None = None,
    ) -> Tensor:
        """Encode sequences.

        vectors (Tensor): one row per token, (n_tokens, input_width).
        layout (Layout): the tokens' sequences.
        dropout (Dropout): dropout rates. Recurrent dropout follows Gal and Ghahramani 2016, arXiv
            1512.05287, with one mask for the gates and the candidate. torch's and cuDNN's cells do
            not support it, so `bigru_tagger.network.gru` then also runs on a GPU.
        shared (SharedInput | None): the first columns of the input, if tokens share them.
            `vectors` are then the other columns, and input dropout applies only to these. A GRU on
            a CPU computes the input projection of the first layer once per shared row.
        RETURNS (Tensor): hidden states, (n_tokens, width).
        RAISES (ValueError): if recurrent dropout is set for an LSTM.
        """
        if dropout.recurrent > 0.0 and self.cell != "gru":
            raise ConfigError(
                f"recurrent dropout needs cell = 'gru'; got a rate of {dropout.recurrent} "
                f"for cell = {self.cell!r}"
            )
        vectors = locked_dropout(vectors, layout, dropout.input)
        own_gru = self._has_own_gru(vectors.device) or dropout.recurrent > 0.0
        on_cpu = vectors.device.type == "cpu"
        if shared is not None and not (len(self.layers) and (own_gru or not on_cpu)):
            vectors, shared = torch.cat([shared.table[shared.index], vectors], 1), None
        if not len(vectors):
            return vectors.new_zeros((0, self.width))
        for layer in self.layers.children():
            directions = dict(layer.named_children())
            if own_gru and not torch.is_grad_enabled() and dropout.recurrent <= 0.0:
                states = _predict_gru(directions, vectors, layout, shared)
            elif own_gru:
                states = _run_gru(directions, vectors, layout, dropout.recurrent, shared)
            elif on_cpu:
                states = _run_packed(directions, vectors, layout)
            else:
                states = _run_padded(directions, vectors, layout, shared)
            shared = None
            vectors = locked_dropout(states, layout, dropout.hidden)
        return vectors

    def trace(self, vectors: Tensor, layout: Layout) -> tuple[list[LayerGates], Tensor]:
        """Compute the gates of each layer, without gradient.

        vectors (Tensor): one row per token, all columns, (n_tokens, input_width).
        layout (Layout): the tokens' sequences.
        RETURNS (tuple[list[LayerGates], Tensor]): the gates of each layer from the bottom up and of
            each direction; and the hidden states, (n_tokens, width).
        RAISES (ValueError): if the cell is not a GRU.
        """
        if self.cell != "gru":
            raise ModelError(
                f"only a GRU has reset and update gates; this encoder has cell = {self.cell!r}"
            )
        gates: list[LayerGates] = []
        with torch.no_grad():
            for number, layer in enumerate(self.layers.children()):
                directions = dict(layer.named_children())
                states = _run_gru(directions, vectors, layout, 0.0, None)
                own = states.chunk(len(directions), 1)
                for (name, rnn), h in zip(directions.items(), own, strict=True):
                    values = _gates(rnn, vectors, h, layout, name == _BACKWARD)
                    arrays = [value.float().cpu().numpy() for value in (*values, h)]
                    gates.append(LayerGates(number, name.removesuffix("_layer"), *arrays))
                vectors = states
        return gates, vectors

    def prepare(self, rows: Tensor) -> Tensor:
        """Precompute the projection of the first columns of the input, without gradient.

        rows (Tensor): the columns that tokens share, (n_rows, shared_width).
        RETURNS (Tensor): the table of a prepared `SharedInput`, (n_rows, prepared_width).
        """
        if not (self._has_own_gru(rows.device) and len(self.layers)):
            return rows
        return project_inputs(_grus(self.layers[0].children()), rows)

    def _has_own_gru(self, device: torch.device) -> bool:
        return self.own_gru and self.cell == "gru" and device.type == "cpu"


def _gates(
    rnn: nn.Module, vectors: Tensor, states: Tensor, layout: Layout, backward: bool
) -> tuple[Tensor, Tensor, Tensor]:
    # Reset, update and candidate. As all states are known, one product covers all tokens.
    before = states.roll(-1 if backward else 1, 0)  # h_{t-1}
    order, _, counts = layout.pack(backward)
    before[order[: int(counts[:1].sum())]] = 0.0
    own = dict(rnn.named_parameters())
    read = nn.functional.linear(vectors, own["weight_ih_l0"], own["bias_ih_l0"])
    kept = nn.functional.linear(before, own["weight_hh_l0"], own["bias_hh_l0"])
    (read_r, read_z, read_n), (kept_r, kept_z, kept_n) = read.chunk(3, 1), kept.chunk(3, 1)
    reset = torch.sigmoid(read_r + kept_r)
    return reset, torch.sigmoid(read_z + kept_z), torch.tanh(read_n + reset * kept_n)


def _grus(modules: Iterable[nn.Module]) -> list[nn.GRU]:
    return [module for module in modules if isinstance(module, nn.GRU)]


def _predict_gru(
    layer: dict[str, nn.Module], vectors: Tensor, layout: Layout, shared: SharedInput | None
) -> Tensor:
    backward = [name == _BACKWARD for name in layer]
    directions = _grus(layer.values())
    dtype = next(directions[0].parameters()).dtype
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.bfloat16
    recurrence = Recurrence.of(directions, dtype)
    return predict_gru(directions, backward, layout.lengths, vectors, recurrence, shared)


def _run_gru(
    layer: dict[str, nn.Module],
    vectors: Tensor,
    layout: Layout,
    rate: float,
    shared: SharedInput | None,
) -> Tensor:
    packs = [layout.pack(name == _BACKWARD) for name in layer]
    directions = _grus(layer.values())
    # The counts are the same in both directions.
    counts = packs[0][2]
    masks = None
    if rate > 0.0:
        shape = (len(directions), int(counts[0]), directions[0].hidden_size)
        masks = _mask(next(directions[0].parameters()), shape, rate)
    orders = [order for order, _, _ in packs]
    states = run_gru(directions, vectors, orders, counts, masks, shared=shared)
    places = [places for _, places, _ in packs]
    # `index_select` for a fast gradient, see `bigru_tagger.network.gru`.
    states = [state.index_select(0, place) for state, place in zip(states, places, strict=True)]
    return torch.cat(states, 1)


def _run_packed(layer: dict[str, nn.Module], vectors: Tensor, layout: Layout) -> Tensor:
    states = []
    for name, rnn in layer.items():
        order, places, counts = layout.pack(name == _BACKWARD)
        packed, _ = rnn(PackedSequence(vectors[order], counts))
        states.append(packed.data[places])
    return torch.cat(states, 1)


def _run_padded(
    layer: dict[str, nn.Module], vectors: Tensor, layout: Layout, shared: SharedInput | None = None
) -> Tensor:
    states = []
    for name, rnn in layer.items():
        blocks, tokens, places = layout.pad(name == _BACKWARD)
        parts: list[Tensor] = []
        state: Any = None
        for (n_steps, n_rows), cells in zip(
            blocks, tokens.split([n_steps * n_rows for n_steps, n_rows in blocks]), strict=True
        ):
            columns = vectors.index_select(0, cells)
            if shared is not None:
                rows = shared.table.index_select(0, shared.index.index_select(0, cells))
                columns = torch.cat([rows, columns], 1)
            if state is not None:  # drop the rows that have ended; an LSTM has two states
                state = _first_rows(state, n_rows)
            output, state = rnn(columns.view(n_steps, n_rows, -1), state)
            parts.append(output.flatten(0, 1))  # (n_steps * n_rows, units)
        states.append(torch.cat(parts).index_select(0, places))
    return torch.cat(states, 1)


def _first_rows(state: Any, n_rows: int) -> Any:
    if isinstance(state, tuple):
        return tuple(_first_rows(part, n_rows) for part in state)
    return state[:, :n_rows].contiguous()


def _initialise(rnn: nn.GRU | nn.LSTM) -> None:
    # One orthogonal matrix per gate preserves the norm of the state over long sequences
    # (Saxe et al. 2014, arXiv 1312.6120).
    if rnn.weight_hh_l0.is_meta:
        return  # saved parameters are loaded into the module
    for name, parameter in rnn.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.data.split(rnn.hidden_size):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            for gate in parameter.data.split(rnn.hidden_size):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(parameter)
