"""A saved network in NumPy, for prediction on a CPU. No torch, no spaCy."""

from collections.abc import Mapping

import numpy as np

from ..decoding.decoder import Decoder
from ..decoding.decoders import decoder_class
from ..errors import ConfigError, ModelError
from ..stages import EMBED, stage
from .context import ContextPooling
from .embeddings.base import build_embedding
from .recurrent import Encoder, Shared
from .spec import PREPARED_INPUT, SPEC_KEY, Batch, NetworkSpec, prepared_arrays
from .storage import Weights, pack_arrays

# Errors that building a network can raise for the spec of a damaged file.
BAD_SPEC = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class ArrayNetwork:
    """Embedding, stacked bidirectional GRU and linear layer, from a batch to logits.

    The output equals that of `bigru_tagger.network.network.Network` in evaluation mode, except for
    rounding. The parameters are not copied, except for those of the recurrent layers and of the
    character embeddings, which are copied at the first prediction. So after a change of the
    parameters, build a new `ArrayNetwork`.

    spec (NetworkSpec): the structure of the network.
    arrays (Mapping[str, ndarray]): its parameters and buffers by name.
    width (int): width of the output: the number of tags, or the width of the hidden states.
    """

    def __init__(self, spec: NetworkSpec, arrays: Mapping[str, np.ndarray]) -> None:
        """Build the network.

        spec (NetworkSpec): the structure of the network.
        arrays (Mapping[str, ndarray]): its parameters and buffers by name.
        RAISES (ValueError): if there is no such cell, decoder or kind of embedding, if the
            embeddings have a total width of 0, or if the arrays do not fit the spec.
        """
        # Checked first, since a million layers would take much memory even without parameters.
        if len(spec.hidden) > len(arrays):
            raise ModelError(
                f"its spec requires {len(spec.hidden)} layers, the file contains "
                f"{len(arrays)} arrays"
            )
        self.spec = spec
        self.arrays = arrays
        weights = Weights(arrays)
        embed = weights.under("embed")
        self.embed = {
            name: build_embedding(name, arguments, embed.under(name))
            for name, arguments in spec.embed.items()
        }
        input_width = sum(embedding.width for embedding in self.embed.values())
        check_input_width(spec, input_width)
        self.encoder = Encoder(
            weights.under("encoder"), input_width, spec.hidden, spec.cell, spec.bidirectional
        )
        self.width = self.encoder.width
        self._context: ContextPooling | None = None
        if spec.occurrences or spec.global_context:
            self._context = ContextPooling(
                weights.under("context"),
                self.width,
                spec.occurrences,
                spec.global_context,
                self.width if spec.context_width is None else spec.context_width,
            )
            self.width = self._context.width
        self._linear: tuple[np.ndarray, np.ndarray] | None = None
        self._decoder: Decoder | None = None
        if spec.n_tags is not None:
            linear = weights.under("linear")
            weight = linear.take("weight", spec.n_tags, self.width)
            self._linear = weight, linear.take("bias", spec.n_tags)
            self.width = spec.n_tags
            decoder = decoder_class(spec.decode)
            stored = weights.under(decoder.stored_as)
            shapes = decoder.shapes(spec.n_tags)
            parameters = {name: stored.take(name, *shape) for name, shape in shapes.items()}
            self._decoder = decoder(spec.n_tags, parameters)
        weights.check_all_taken()

    @property
    def decoder(self) -> Decoder:
        """The decoder.

        RAISES (ValueError): if the network has no tags.
        """
        if self._decoder is None:
            raise ValueError("a network without tags has no decoder")
        return self._decoder

    def prepare(self, words: Mapping[str, tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
        """Compute context-independent features once per word.

        words (Mapping[str, tuple[ndarray, ...]]): see `Batch`.
        RETURNS (dict[str, ndarray]): the value of `Batch.prepared`: rows of words, (n_words, ...),
            by name.
        """
        prepared: dict[str, np.ndarray] = {}
        for name, embedding in self.embed.items():
            if embedding.reads == "sequences":
                prepared |= prepared_arrays(name, words[name])
        with _ignoring_overflow():
            vectors = self._embed_words(words)
            if vectors is not None:
                prepared[PREPARED_INPUT] = self.encoder.prepare(vectors)
        return prepared

    def __call__(self, batch: Batch) -> np.ndarray:
        """Compute the logits of each token.

        batch (Batch): the sequences, as NumPy arrays.
        RETURNS (ndarray): logits, float32 (n_tokens, n_tags); hidden states, float32
            (n_tokens, width), for a network without tags.
        RAISES (ValueError): if `batch.groups` lacks a group that the network needs.
        """
        lengths = np.asarray(batch.lengths, dtype=np.int64)
        with _ignoring_overflow():
            columns = self._embed_tokens(batch, lengths)
            shared: Shared | None = None
            if batch.prepared is not None and PREPARED_INPUT in batch.prepared:
                shared = batch.prepared[PREPARED_INPUT], batch.index
            vectors = self._embed_words(batch.words)
            if vectors is not None:
                shared = self.encoder.prepare(vectors), batch.index
            hidden = self.encoder(lengths, shared, columns)  # (n_tokens, encoder width)
            if self._context is not None:
                hidden = self._context(hidden, batch.groups)
            if self._linear is None:
                return hidden
            weight, bias = self._linear
            logits: np.ndarray = hidden @ weight.T
            logits += bias
        return logits

    @stage(EMBED)
    def _embed_words(self, words: Mapping[str, tuple[np.ndarray, ...]]) -> np.ndarray | None:
        # Context-independent vectors, (n_words, width).
        vectors = [
            embedding(*words[name])
            for name, embedding in self.embed.items()
            if name in words and embedding.reads == "words"
        ]
        return np.concatenate(vectors, 1) if vectors else None

    @stage(EMBED)
    def _embed_tokens(self, batch: Batch, lengths: np.ndarray) -> np.ndarray | None:
        # The other vectors, (n_tokens, width); None if there are none.
        vectors = []
        for name, embedding in self.embed.items():
            if embedding.reads == "sequences":
                rows = [array[batch.index] for array in batch.arrays_of(name)]
                vectors.append(embedding(*rows, lengths))
            elif embedding.reads == "vectors":
                vectors.append(embedding(batch.tokens[name]))
        return np.concatenate(vectors, 1) if vectors else None

    def to_bytes(self) -> bytes:
        """Serialise the parameters and the spec.

        RETURNS (bytes): a safetensors file, with the spec as JSON in its metadata.
        """
        return pack_network(self.spec, self.arrays)


def check_input_width(spec: NetworkSpec, width: int) -> None:
    """Check that a network has an input.

    spec (NetworkSpec): the structure of the network.
    width (int): total width of its embeddings.
    RAISES (ValueError): if the width is 0.
    """
    if width == 0:
        raise ConfigError(
            "the network has no input: add an embedding that does not depend on static "
            f"vectors, or load vectors; the embeddings are {list(spec.embed) or 'none'}"
        )


def pack_network(spec: NetworkSpec, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Serialise a network.

    spec (NetworkSpec): the structure of the network.
    arrays (Mapping[str, ndarray]): its parameters and buffers by name.
    RETURNS (bytes): a safetensors file, with the spec as JSON in its metadata.
    """
    return pack_arrays(arrays, SPEC_KEY, spec.to_json())


def blend(
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], share: float, n_tags: int
) -> dict[str, np.ndarray]:
    """Mix the parameters of a network before and after further training.

    The output layer's rows of added tags are the new ones: before training, they are copies of the
    first tag.

    old, new (Mapping[str, ndarray]): the parameters and buffers by name, of the same shapes.
    share (float): the share of the new ones, from 0 to 1.
    n_tags (int): the number of tags before others were added.
    RETURNS (dict[str, ndarray]): `old + share * (new - old)`.
    """
    mixed = {}
    for name, end in new.items():
        start = old[name]
        is_weight = np.issubdtype(end.dtype, np.floating) and share < 1.0
        mixed[name] = start + share * (end - start) if is_weight else end
        if name in ("linear.weight", "linear.bias"):
            mixed[name] = np.concatenate([mixed[name][:n_tags], end[n_tags:]])
    return mixed


def _ignoring_overflow() -> np.errstate:
    # exp overflows to infinity where a gate is 0. Parameters that are not finite give logits that
    # are not finite, as in torch, without a warning for each operation.
    return np.errstate(over="ignore", invalid="ignore")
