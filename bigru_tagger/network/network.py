"""The network: embedding, stacked bidirectional GRU, and a linear layer per token. No spaCy.

`Network(spec)` is an ordinary `torch.nn.Module`. Its `NetworkSpec` defines its structure and can be
converted to JSON. `to_bytes` and `from_bytes` store both in one safetensors file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..decoding.decoder import Decoder
from ..decoding.decoders import decoder_class
from ..decoding.transitions import to_numpy
from ..errors import ModelError
from ..runtime.ensemble import load_arrays
from ..runtime.network import BAD_SPEC, check_input_width, pack_network
from ..runtime.spec import (
    NEW_TAG_MARGIN,
    PREPARED_INPUT,
    Batch,
    NetworkSpec,
    prepared_arrays,
)
from ..stages import EMBED, stage
from .context import ContextPooling
from .dropout import NO_DROPOUT, Dropout
from .embeddings.base import build_module
from .encoder import BiGRUEncoder, LayerGates
from .gru import SharedInput
from .layout import Layout
from .meta import on_meta


@dataclass(frozen=True)
class NetworkTrace:
    """The gates of the network and the parts of its logits, for each token.

    layers (list[LayerGates]): the gates of the encoder.
    parts (Mapping[str, Tensor]): terms that sum to the logits, (n_tokens, n_tags) each: the
        contributions of the "forward" and "backward" states, of the document "context" if the
        network uses it, and the "bias". Empty for a network without tags or encoder.
    """

    layers: list[LayerGates]
    parts: Mapping[str, Tensor]


class Network(nn.Module):
    """Embedding, stacked bidirectional GRU and linear layer, from a batch to logits."""

    def __init__(self, spec: NetworkSpec) -> None:
        """Build the network with fresh parameters.

        spec (NetworkSpec): the structure of the network.
        RAISES (ValueError): if there is no such cell, decoder or kind of embedding, or if the
            embeddings have a total width of 0.
        """
        super().__init__()
        self.spec = spec
        self.embed = nn.ModuleDict()
        input_width = 0
        for name, arguments in spec.embed.items():
            module = build_module(name, arguments)
            self.embed[name] = module
            input_width += module.width
        check_input_width(spec, input_width)
        self.encoder = BiGRUEncoder(input_width, spec.hidden, spec.cell, spec.bidirectional)
        width = self.encoder.width
        self.context: ContextPooling | None = None
        if spec.occurrences or spec.global_context:
            n_out = width if spec.context_width is None else spec.context_width
            self.context = ContextPooling(width, spec.occurrences, spec.global_context, n_out)
            width = n_out
        self.linear: nn.Linear | None = None
        self._decoder: type[Decoder] | None = None
        if spec.n_tags is not None:
            self.linear = nn.Linear(width, spec.n_tags)
            nn.init.xavier_uniform_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
            # Found once: the search goes through the entry points of all installed packages.
            self._decoder = decoder_class(spec.decode)
            shapes = self._decoder.shapes(spec.n_tags)
            zeros = {name: torch.zeros(shape) for name, shape in shapes.items()}
            self.add_module(self._decoder.stored_as, nn.ParameterDict(zeros))

    @property
    def decoder(self) -> Decoder:
        """The decoder.

        RAISES (ValueError): if the network has no tags.
        """
        if self.spec.n_tags is None or self._decoder is None:
            raise ValueError("a network without tags has no decoder")
        parameters = cast(nn.ParameterDict, self._modules[self._decoder.stored_as])
        return self._decoder(self.spec.n_tags, dict(parameters.items()))

    @property
    def width(self) -> int:
        """Width of the output of `forward`."""
        if self.linear is not None:
            return self.linear.out_features
        return self.encoder.width if self.context is None else self.context.width

    def forward(self, batch: Batch, dropout: Dropout = NO_DROPOUT) -> Tensor:
        """Compute the logits of each token.

        batch (Batch): the sequences.
        dropout (Dropout): dropout rates.
        RETURNS (Tensor): logits, (n_tokens, n_tags); hidden states, (n_tokens, width), for a
            network without tags.
        RAISES (ValueError): if `batch.groups` lacks a group that the network needs.
        """
        layout = Layout(batch.lengths, batch.index.device)
        tokens = self._embed_tokens(batch, layout)
        if dropout.word > 0.0:
            kept = torch.rand(len(tokens), device=tokens.device) >= dropout.word
            tokens = tokens * kept.unsqueeze(1)
        shared = None
        if batch.prepared is not None and PREPARED_INPUT in batch.prepared:
            shared = SharedInput(batch.prepared[PREPARED_INPUT], batch.index, is_prepared=True)
        words = self._embed_words(batch.words)
        if words is not None:
            index = batch.index
            if dropout.input > 0.0:
                # One mask per word, so that the input projection is computed once per word.
                words = nn.functional.dropout(words, dropout.input)
            if dropout.word > 0.0:
                index = torch.where(kept, index, len(words))
                words = nn.functional.pad(words, (0, 0, 0, 1))  # a word of zeros
            shared = SharedInput(words, index)
        hidden: Tensor = self.encoder(tokens, layout, dropout, shared)  # (n_tokens, encoder width)
        if self.context is not None:
            missing = [name for name in self.context.project if name not in batch.groups]
            if missing:
                raise ValueError(f"the network needs the groups of the tokens for {missing}")
            hidden = self.context(hidden, batch.groups, dropout.hidden)
        return hidden if self.linear is None else self.linear(hidden)

    def trace(self, batch: Batch) -> NetworkTrace:
        """Compute the gates and the contribution of each direction to the logits of each token.

        The logits are exactly the sum of their parts: the ReLU of the layer that combines states
        with document means is linear where it is active.

        batch (Batch): the sequences, with `words` instead of `prepared`.
        RETURNS (NetworkTrace): the gates and the parts of the logits.
        RAISES (ValueError): if the cell is not a GRU.
        """
        layout = Layout(batch.lengths, batch.index.device)
        with torch.no_grad():
            columns = [self._embed_tokens(batch, layout)]
            words = self._embed_words(batch.words)
            if words is not None:
                columns.insert(0, words[batch.index])
            layers, hidden = self.encoder.trace(torch.cat(columns, 1), layout)
            if self.linear is None or not layers:
                return NetworkTrace(layers, {})
            return NetworkTrace(layers, self._parts(hidden, batch.groups))

    def _parts(self, hidden: Tensor, groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
        assert self.linear is not None
        names = ("forward", "backward")[: 1 + self.spec.bidirectional]
        states = dict(zip(names, hidden.chunk(len(names), 1), strict=True))
        weight, bias = self.linear.weight, self.linear.bias
        if self.context is None:
            by_state = weight.split([layer.shape[1] for layer in states.values()], 1)
            parts = {
                name: nn.functional.linear(h, columns)
                for (name, h), columns in zip(states.items(), by_state, strict=True)
            }
            return {**parts, "bias": bias.detach().expand(len(hidden), -1)}
        mixed = self.context(hidden, groups)
        active = mixed > 0.0
        mixing = self.context.combine
        parts, begin = {}, 0
        for name, h in states.items():
            end = begin + h.shape[1]
            mixed_part = nn.functional.linear(h, mixing.weight[:, begin:end]) * active
            parts[name] = nn.functional.linear(mixed_part, weight)
            begin = end
        parts["bias"] = nn.functional.linear(mixing.bias * active, weight, bias)
        parts["context"] = nn.functional.linear(mixed, weight, bias) - sum(parts.values())
        return parts

    def prepare(self, words: Mapping[str, tuple[Tensor, ...]]) -> dict[str, Tensor]:
        """Compute context-independent features once per word, without gradient.

        words (Mapping[str, tuple[Tensor, ...]]): see `Batch`.
        RETURNS (dict[str, Tensor]): the value of `Batch.prepared`: rows of words, (n_words, ...),
            by name.
        """
        prepared: dict[str, Tensor] = {}
        for name, module in self.embed.items():
            if module.reads == "sequences":
                prepared |= prepared_arrays(name, words[name])
        vectors = self._embed_words(words)
        if vectors is not None:
            prepared[PREPARED_INPUT] = self.encoder.prepare(vectors)
        return prepared

    @stage(EMBED)
    def _embed_words(self, words: Mapping[str, tuple[Tensor, ...]]) -> Tensor | None:
        # Context-independent vectors, (n_words, width).
        vectors = [
            module(*words[name])
            for name, module in self.embed.items()
            if name in words and module.reads == "words"
        ]
        return torch.cat(vectors, 1) if vectors else None

    @stage(EMBED)
    def _embed_tokens(self, batch: Batch, layout: Layout) -> Tensor:
        # The other vectors, (n_tokens, width).
        vectors = [torch.zeros((len(layout.sequence), 0), device=layout.sequence.device)]
        for name, module in self.embed.items():
            if module.reads == "sequences":
                rows = [array[batch.index] for array in batch.arrays_of(name)]
                vectors.append(module(*rows, layout))
            elif module.reads == "vectors":
                vectors.append(module(batch.tokens[name]))
        return torch.cat(vectors, 1)

    def fill(self, tensors: Mapping[str, Mapping[str, Any]]) -> None:
        """Set the buffers of embeddings, such as tables of static vectors.

        tensors (Mapping[str, Mapping[str, ndarray]]): values of buffers, by embedding and name.
        """
        for name, values in tensors.items():
            buffers = dict(self.embed[name].named_buffers())
            for buffer, value in values.items():
                buffers[buffer].copy_(torch.as_tensor(value))

    def resize(self, n_tags: int, margin: float = NEW_TAG_MARGIN) -> None:
        """Add tags without changing predictions.

        A new tag copies the first one, which is valid wherever a new tag is (O, for tags of
        spans). Its logits are those of the first tag minus the margin, and its transitions are the
        same. So a sequence with new tags always scores lower than the same sequence with the first
        tag in their place, by the margin for each new tag. A fixed low logit would not ensure
        this, since softmax and CRF do not change if a constant is added to all logits. The
        gradient of a new tag's logit is as large as for any other tag, so it can be learned.

        n_tags (int): the new number of tags. New tags follow the old ones.
        margin (float): difference between the logits of the first tag and those of the new ones.
        RAISES (ValueError): if `n_tags` is below the current number, or the network has no tags.
        """
        if self.linear is None or n_tags < self.linear.out_features:
            raise ValueError(f"cannot resize the output from {self.spec.n_tags} tags to {n_tags}")
        old = self.linear
        self.linear = nn.Linear(old.in_features, n_tags).to(old.weight)
        with torch.no_grad():
            self.linear.weight[: old.out_features] = old.weight
            self.linear.weight[old.out_features :] = old.weight[0]
            self.linear.bias[: old.out_features] = old.bias
            self.linear.bias[old.out_features :] = old.bias[0] - margin
        decoder = self.decoder
        resized = {name: table.detach() for name, table in decoder.resize(n_tags).items()}
        self.add_module(decoder.stored_as, nn.ParameterDict(resized))
        self.spec = replace(self.spec, n_tags=n_tags)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters and buffers by name. On a CPU, the arrays share their memory."""
        return {name: to_numpy(tensor) for name, tensor in self.state_dict().items()}

    def to_bytes(self) -> bytes:
        """Serialise the parameters and the spec.

        RETURNS (bytes): a safetensors file, with the spec as JSON in its metadata.
        """
        return pack_network(self.spec, self.arrays)

    @classmethod
    def from_arrays(cls, spec: NetworkSpec, arrays: Mapping[str, np.ndarray]) -> "Network":
        """Build a network from saved parameters.

        spec (NetworkSpec): the structure of the network.
        arrays (Mapping[str, ndarray]): its parameters and buffers, see `arrays`. Their memory is
            shared.
        RETURNS (Network): the network, on the CPU.
        RAISES (ValueError): if the arrays do not fit the spec.
        """
        # No memory or random numbers are needed, as the parameters come from the arrays.
        with on_meta():
            network = cls(spec)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        network.load_state_dict(tensors, assign=True)
        return network

    @classmethod
    def from_bytes(cls, data: bytes) -> "Network":
        """Load a network.

        data (bytes): the output of `to_bytes`.
        RETURNS (Network): the network, on the CPU.
        RAISES (ModelError): if the data is not a saved network.
        """
        checked = load_arrays(data)
        try:
            return cls.from_arrays(checked.spec, checked.arrays)
        except BAD_SPEC as error:
            raise ModelError(f"not a saved bigru_tagger network: {error}") from error
