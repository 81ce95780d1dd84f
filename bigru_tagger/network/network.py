"""The network: embedding, stacked bidirectional GRU, and a linear layer per token. No spaCy.

`Network(spec)` is an ordinary `torch.nn.Module`, described in full by its `NetworkSpec`, which is
plain JSON; `to_bytes` and `from_bytes` keep both in one safetensors file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..stages import EMBED, stage
from .context import ContextPooling
from .decoder import Decoder
from .decoders import decoder_class
from .embeddings.base import build_module
from .encoder import NO_DROPOUT, BiGRUEncoder, Dropout, LayerGates
from .gru import SharedInput
from .layout import Layout
from .storage import check_tensors, on_meta, pack_tensors, unpack_tensors

# A name in files, which stays wherever this module goes.
_SPEC = "bigru_tagger.network"
# How much less than the first tag a new one scores. Confidences change by about exp(-16) = 1e-7;
# training takes about half as long again to learn the tag as from 8.
NEW_TAG_MARGIN = 16.0
# Keys of `Batch.prepared`. No module, and so no embedding, has a name with a full stop.
_ENTERING = "encoder.input"
_SEQUENCES = "embed.sequences"
# What building a network raises if a spec from a damaged file has wrong names, types or numbers.
_BAD_SPEC = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class NetworkSpec:
    """All that fixes the shape of a network.

    embed (Mapping[str, Mapping[str, Any]]): the embeddings by name: `kind`, see
        `bigru_tagger.network.embeddings.base.find_module`, and the keyword arguments of the class.
    hidden (Sequence[int]): units of each layer and direction; empty for no encoder at all.
    cell (str): "gru" or "lstm".
    bidirectional (bool): read backwards too.
    n_tags (int | None): outputs per token; None to put the hidden states out.
    occurrences (int): width of the mean over a word's occurrences, see `ContextPooling`; 0 for
        none.
    global_context (int): width of the mean over a document, see `ContextPooling`; 0 for none.
    context_width (int | None): units of the layer that mixes these means with a token's state;
        None for as many as the states have.
    decode (str): the way of decoding, if there are tags: a name of
        `bigru_tagger.network.decoders.decoders`.
    """

    embed: Mapping[str, Mapping[str, Any]]
    hidden: Sequence[int]
    cell: str = "gru"
    bidirectional: bool = True
    n_tags: int | None = None
    occurrences: int = 0
    global_context: int = 0
    context_width: int | None = None
    decode: str = "constrained"

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "NetworkSpec":
        """Read the spec of a file, also of earlier versions, which had `crf` in place of `decode`.

        settings (Mapping[str, Any]): the fields by name.
        RETURNS (NetworkSpec): the spec.
        RAISES (TypeError): if there are other fields.
        """
        named = dict(settings)
        if named.pop("crf", False):
            named["decode"] = "crf"
        return cls(**named)


@dataclass
class Batch:
    """The input of the network, for sequences one after the other.

    lengths (Sequence[int]): tokens of each sequence.
    index (Tensor): each token's row among the distinct words, or in `prepared`, int64 (n_tokens,).
    words (Mapping[str, tuple[Tensor, ...]]): what each word embedding reads, the arguments of its
        module, with one row per distinct word.
    tokens (Mapping[str, Tensor]): for each embedding of vectors, one row per token.
    groups (Mapping[str, Tensor]): for networks with `occurrences`, which tokens are occurrences of
        one word in one document, and for those with `global_context`, which are of one document,
        under these names; numbered from 0, int64 (n_tokens,).
    prepared (Mapping[str, Tensor] | None): in place of `words`, what `Network.prepare` made of
        them, with one row per word; for prediction only.
    """

    lengths: Sequence[int]
    index: Tensor
    words: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    groups: Mapping[str, Tensor] = field(default_factory=dict)
    prepared: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class NetworkTrace:
    """What the network does at each token.

    layers (list[LayerGates]): the gates of its encoder.
    parts (Mapping[str, Tensor]): what logits are the sum of, (n_tokens, n_tags) each: what
        comes from the states that are `forward` and `backward`, from the `context` around the
        sentence, and what is there whatever the text, the `bias`; empty for a network without tags.
    """

    layers: list[LayerGates]
    parts: Mapping[str, Tensor]


class Network(nn.Module):
    """Embedding, stacked bidirectional GRU, linear layer: a batch in, logits out."""

    def __init__(self, spec: NetworkSpec) -> None:
        """Build the network with fresh parameters.

        spec (NetworkSpec): its shape.
        RAISES (ValueError): if the spec names what does not exist, or has no embedding.
        """
        super().__init__()
        self.spec = spec
        self.embed = nn.ModuleDict()
        input_width = 0
        for name, arguments in spec.embed.items():
            module = build_module(name, arguments)
            self.embed[name] = module
            input_width += module.width
        if input_width == 0:
            raise ValueError(
                "the network has nothing to read: add an embedding that does not depend on static "
                f"vectors, or load vectors; the embeddings are {list(spec.embed) or 'none'}"
            )
        self.encoder = BiGRUEncoder(input_width, spec.hidden, spec.cell, spec.bidirectional)
        width = self.encoder.width
        self.context: ContextPooling | None = None
        if spec.occurrences or spec.global_context:
            n_out = width if spec.context_width is None else spec.context_width
            self.context = ContextPooling(width, spec.occurrences, spec.global_context, n_out)
            width = n_out
        self.linear: nn.Linear | None = None
        if spec.n_tags is not None:
            self.linear = nn.Linear(width, spec.n_tags)
            nn.init.xavier_uniform_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
            decoder = decoder_class(spec.decode)(spec.n_tags)
            self.add_module(decoder.stored_as, decoder)

    @property
    def decoder(self) -> Decoder:
        """The way of decoding, of a network with tags.

        RAISES (ValueError): if there are no tags.
        """
        for module in self.children():
            if isinstance(module, Decoder):
                return module
        raise ValueError("a network without tags has no way of decoding")

    @property
    def width(self) -> int:
        """Numbers put out per token."""
        if self.linear is not None:
            return self.linear.out_features
        return self.encoder.width if self.context is None else self.context.width

    def forward(self, batch: Batch, dropout: Dropout = NO_DROPOUT) -> Tensor:
        """Score the tags of each token.

        batch (Batch): the sequences.
        dropout (Dropout): rates in training.
        RETURNS (Tensor): logits, (n_tokens, n_tags), or the hidden states, (n_tokens, width),
            of a network without tags.
        """
        layout = Layout(batch.lengths, batch.index.device)
        tokens = self._embed_tokens(batch, layout)
        if dropout.word > 0.0:
            kept = torch.rand(len(tokens), device=tokens.device) >= dropout.word
            tokens = tokens * kept.unsqueeze(1)
        shared = None
        if batch.prepared is not None and _ENTERING in batch.prepared:
            shared = SharedInput(batch.prepared[_ENTERING], batch.index, is_prepared=True)
        words = self._embed_words(batch.words)
        if words is not None:
            index = batch.index
            if dropout.input > 0.0:
                # One mask per word: so the work of the encoder's input remains one row per word.
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
        """Tell what the gates do at each token, and what each direction says about its tags.

        The layer that mixes states with means over the document has a ReLU. It is linear where it
        is not zero, so logits are exactly a sum of parts.

        batch (Batch): the sequences, with their `words`.
        RETURNS (NetworkTrace): see there.
        RAISES (ValueError): if the cell is no GRU.
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
                name: nn.functional.linear(h, own)
                for (name, h), own in zip(states.items(), by_state, strict=True)
            }
            return {**parts, "bias": bias.detach().expand(len(hidden), -1)}
        mixed = self.context(hidden, groups)
        active = mixed > 0.0
        mixing = self.context.combine
        parts, begin = {}, 0
        for name, h in states.items():
            end = begin + h.shape[1]
            own = nn.functional.linear(h, mixing.weight[:, begin:end]) * active
            parts[name] = nn.functional.linear(own, weight)
            begin = end
        parts["bias"] = nn.functional.linear(mixing.bias * active, weight, bias)
        parts["context"] = nn.functional.linear(mixed, weight, bias) - sum(parts.values())
        return parts

    def prepare(self, words: Mapping[str, tuple[Tensor, ...]]) -> dict[str, Tensor]:
        """Do all that depends on the word alone, without gradient.

        words (Mapping[str, tuple[Tensor, ...]]): see `Batch`.
        RETURNS (dict[str, Tensor]): for `Batch.prepared`: rows of words, (n_words, ...), by name.
        """
        prepared = {
            f"{_SEQUENCES}.{name}.{number}": array
            for name, module in self.embed.items()
            if module.reads == "sequences"
            for number, array in enumerate(words[name])
        }
        vectors = self._embed_words(words)
        if vectors is not None:
            prepared[_ENTERING] = self.encoder.prepare(vectors)
        return prepared

    @stage(EMBED)
    def _embed_words(self, words: Mapping[str, tuple[Tensor, ...]]) -> Tensor | None:
        # What depends on the word alone, (n_words, width).
        vectors = [
            module(*words[name])
            for name, module in self.embed.items()
            if name in words and module.reads == "words"
        ]
        return torch.cat(vectors, 1) if vectors else None

    @stage(EMBED)
    def _embed_tokens(self, batch: Batch, layout: Layout) -> Tensor:
        # What does not, (n_tokens, width).
        vectors = [torch.zeros((len(layout.sequence), 0), device=layout.sequence.device)]
        for name, module in self.embed.items():
            if module.reads == "sequences":
                key = f"{_SEQUENCES}.{name}."
                arrays = (
                    batch.words[name]
                    if batch.prepared is None
                    else [rows for own, rows in batch.prepared.items() if own.startswith(key)]
                )
                vectors.append(module(*(rows[batch.index] for rows in arrays), layout))
            elif module.reads == "vectors":
                vectors.append(module(batch.tokens[name]))
        return torch.cat(vectors, 1)

    def fill(self, tensors: Mapping[str, Mapping[str, Any]]) -> None:
        """Set what embeddings hold that is not learned.

        tensors (Mapping[str, Mapping[str, ndarray]]): values of buffers, by embedding and name.
        """
        for name, values in tensors.items():
            buffers = dict(self.embed[name].named_buffers())
            for buffer, value in values.items():
                buffers[buffer].copy_(torch.as_tensor(value))

    def resize(self, n_tags: int, margin: float = NEW_TAG_MARGIN) -> None:
        """Make room for more tags, so that decoding finds what it found before.

        Scores have no zero point: neither a softmax nor a CRF changes when all tags score more. So
        a new tag is anchored to the first one, which may stand wherever a new one may (O, in tags
        of spans): it gets its logits less the margin, and its transitions. Whatever the
        text, a sequence with new tags then scores less than the same sequence with the first tag
        in their place, by the margin for each. The gradient of a new tag's logit is as large
        as for any tag, so it can be learned.

        n_tags (int): the new number of outputs, new tags behind the old ones.
        margin (float): how much less than the first tag the new ones score.
        RAISES (ValueError): if that would remove tags, or the network has none.
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
        self.decoder.resize(n_tags)
        self.spec = replace(self.spec, n_tags=n_tags)

    def to_bytes(self) -> bytes:
        """Serialise the parameters and the spec.

        RETURNS (bytes): a safetensors file, with the spec as JSON in its metadata.
        """
        return pack_tensors(self.state_dict(), _SPEC, asdict(self.spec))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Network":
        """Build the network that `to_bytes` described.

        data (bytes): a safetensors file with the spec in its metadata.
        RETURNS (Network): the network, on the CPU.
        RAISES (ValueError): if the data is no such file.
        """
        try:
            tensors, settings = unpack_tensors(data, _SPEC)
            spec = NetworkSpec.read(settings)
            # Each layer has tensors of its own, and even the modules of a million take memory.
            if len(spec.hidden) > len(tensors):
                raise ValueError(
                    f"its spec demands {len(spec.hidden)} layers, the file holds {len(tensors)} "
                    "tensors"
                )
            # Without memory or random numbers, which the parameters of the file make needless.
            with on_meta():
                network = cls(spec)
            check_tensors(tensors, network.state_dict())
            network.load_state_dict(tensors, assign=True)
        except _BAD_SPEC as error:
            raise ValueError(f"this is no saved bigru_tagger network: {error}") from error
        return network
