"""The embeddings in NumPy, one class per kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal, TypeVar

import numpy as np

from ..time_steps import TimeSteps
from .recurrent import Encoder
from .storage import Weights

Reads = Literal["words", "sequences", "vectors"]

FILTER_BITS = 20
"""Binary logarithm of the number of bits of a Bloom filter, see `HashArrays`. With 100,000 values,
the filter has one false positive in 80; a million would fill it."""

# Kinds in files of version 0.1: their new names, and the new names of renamed arguments.
_FORMER_KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "characters": ("char_cnn", {"filters": "out_channels", "window": "kernel_size"}),
    "character_states": ("char_gru", {}),
    "vector_table": ("vector_file", {}),
    "dense": ("tok2vec", {}),
}


class ArrayEmbedding(ABC):
    """The base class of embeddings in NumPy.

    A subclass has the same keyword arguments as the torch module of its kind, after `weights`. It
    takes the parameters of that module by their names, and does not copy large ones: in training,
    they share their memory with those of the module.

    width (int): width of the vectors that `__call__` returns; set by `__init__`.
    reads (str): the arguments of `__call__`:
        "words": arrays with one row per distinct word, (n_words, ...), as a `WordEmbedding` reads
        them. `__call__` returns float32 (n_words, width).
        "sequences": the same arrays with one row per token, (n_tokens, ...), and the tokens of each
        sequence, int64 (n_sequences,). `__call__` returns float32 (n_tokens, width).
        "vectors": vectors that another model computed, (n_tokens, ...). `__call__` returns float32
        (n_tokens, width).
    """

    reads: Reads = "words"
    width: int

    @abstractmethod
    def __call__(self, *arrays: Any) -> np.ndarray:
        """Embed words or tokens.

        *arrays (ndarray): see the class.
        RETURNS (ndarray): float32 (n, width).
        """


_Class = TypeVar("_Class", bound=Callable[..., ArrayEmbedding])
_CLASSES: dict[str, Callable[..., ArrayEmbedding]] = {}


def register(kind: str) -> Callable[[_Class], _Class]:
    """Register the NumPy version of an embedding.

    A kind without one is computed by PyTorch.

    kind (str): the kind, as of the torch module.
    RETURNS (Callable): a decorator for a subclass of `ArrayEmbedding`.
    """

    def decorate(embedding: _Class) -> _Class:
        _CLASSES[kind] = embedding
        return embedding

    return decorate


def read_kind(name: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Separate the kind of an embedding from its arguments. Former names are replaced.

    name (str): the embedding's name in the network, for error messages.
    settings (Mapping[str, Any]): `kind` and the keyword arguments of its class.
    RETURNS (tuple[str, dict[str, Any]]): the kind and the arguments.
    RAISES (ValueError): if the kind is not a string.
    """
    arguments = dict(settings)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str):
        raise ValueError(f"embedding {name!r}: 'kind' has to be a name; got {kind!r}")
    kind, renamed = _FORMER_KINDS.get(kind, (kind, {}))
    return kind, {renamed.get(key, key): value for key, value in arguments.items()}


def build_embedding(name: str, settings: Mapping[str, Any], weights: Weights) -> ArrayEmbedding:
    """Build an embedding.

    name (str): its name in the network, for error messages.
    settings (Mapping[str, Any]): `kind` and the keyword arguments of its class.
    weights (Weights): its parameters.
    RETURNS (ArrayEmbedding): the embedding.
    RAISES (ValueError): if there is no such kind, the parameters do not fit, or the kind has no
        NumPy version and PyTorch is not installed.
    """
    kind, arguments = read_kind(name, settings)
    if kind in _CLASSES:
        return _CLASSES[kind](weights, **arguments)
    return TorchEmbedding(name, kind, arguments, weights)


class TorchEmbedding(ArrayEmbedding):
    """An embedding without a NumPy version. It runs on PyTorch."""

    def __init__(
        self, name: str, kind: str, arguments: Mapping[str, Any], weights: Weights
    ) -> None:
        """Build the torch module. It shares its parameters with `weights`.

        name (str): the embedding's name in the network, for error messages.
        kind (str): the kind.
        arguments (Mapping[str, Any]): the keyword arguments of its class.
        weights (Weights): its parameters.
        RAISES (ValueError): if there is no such kind, the parameters do not fit, or PyTorch is not
            installed.
        """
        # By name, since the networks of PyTorch are built on top of this package.
        network = f"{__package__.rpartition('.')[0]}.network"
        try:
            self._torch = import_module("torch")
            build_module = import_module(f"{network}.embeddings.base").build_module
            on_meta = import_module(f"{network}.meta").on_meta
            self._layout = import_module(f"{network}.layout").Layout
        except ImportError as error:
            raise ValueError(
                f"embedding {name!r}: the kind {kind!r} has no version for NumPy, so it needs "
                "PyTorch: pip install 'bigru-tagger[train]'"
            ) from error
        with on_meta():
            self._module = build_module(name, {"kind": kind, **arguments})
        tensors = {}
        for key, expected in self._module.state_dict().items():
            dtype = str(expected.dtype).removeprefix("torch.")
            tensors[key] = self._torch.from_numpy(weights.take(key, *expected.shape, dtype=dtype))
        self._module.load_state_dict(tensors, assign=True)
        self._module.eval()
        self.reads = self._module.reads
        self.width = self._module.width

    def __call__(self, *arrays: Any) -> np.ndarray:
        """Run the module.

        *arrays (ndarray): see `ArrayEmbedding`.
        RETURNS (ndarray): float32 (n, width).
        """
        torch = self._torch
        inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        if self.reads == "sequences":
            inputs[-1] = self._layout(arrays[-1], torch.device("cpu"))
        with torch.inference_mode():
            vectors: np.ndarray = self._module(*inputs).float().numpy()
        return vectors


@cache
def hash_multipliers(n_attrs: int) -> np.ndarray:
    """Return the multipliers of `HashArrays`.

    Saved models depend on these numbers, but do not contain them. They are those of
    `torch.randint(1 << 62, shape, generator=torch.Generator().manual_seed(0)) | 1`. Both libraries
    draw from the same Mersenne Twister.

    n_attrs (int): number of attributes.
    RETURNS (ndarray): odd, int64 (n_attrs, 4).
    """
    state = np.random.RandomState(0)
    drawn = state.randint(0, 1 << 32, (n_attrs, 4, 2), dtype=np.uint64)
    numbers = (drawn[:, :, 0] << np.uint64(32) | drawn[:, :, 1]) & np.uint64((1 << 62) - 1)
    multipliers: np.ndarray = numbers.astype(np.int64) | 1
    multipliers.flags.writeable = False  # shared by all callers
    return multipliers


@register("hash")
class HashArrays(ArrayEmbedding):
    """Sums of four hashed rows, see `bigru_tagger.network.embeddings.hash.HashModule`."""

    def __init__(
        self,
        weights: Weights,
        rows: Sequence[int],
        width: int,
        unknown_rate: float,
        correction: bool = False,
    ) -> None:
        """Take the parameters. See `HashModule` for the others."""
        sizes = np.array(rows, dtype=np.int64).reshape(len(rows), 1)
        if len(rows) and not all(isinstance(n, int) and n > 0 for n in rows):
            raise ValueError(f"'rows' have to be positive numbers; got {rows!r}")
        self._sizes, self._offsets = sizes, sizes.cumsum(0) - sizes
        self._table = weights.under("table").take("weight", sum(rows), width)
        shape = (len(rows), width)
        self._unknown = (
            np.zeros(shape, np.float32) if correction else weights.take("unknown", *shape)
        )
        self._seen = weights.take("seen", 1 << FILTER_BITS, dtype="bool")
        self._multipliers = hash_multipliers(len(rows))
        self.width = len(rows) * width

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Embed attributes.

        values (ndarray): 64-bit hashes of their values, int64 or uint64 (n_words, n_attrs).
        RETURNS (ndarray): vectors, float32 (n_words, n_attrs * width).
        """
        products = _signed(values)[:, :, None] * self._multipliers
        rows = ((products >> 33) & 0x7FFFFFFF) % self._sizes + self._offsets
        known = self._seen[(products >> (64 - FILTER_BITS)) & ((1 << FILTER_BITS) - 1)].all(2)
        vectors = self._table.take(rows[:, :, 0], 0)  # (n_words, n_attrs, width)
        for number in range(1, rows.shape[2]):
            vectors += self._table.take(rows[:, :, number], 0)
        np.copyto(vectors, self._unknown, where=~known[:, :, None])
        flat: np.ndarray = vectors.reshape(len(values), self.width)
        return flat


@register("char_cnn")
class CharCNNArrays(ArrayEmbedding):
    """A convolution over characters, see `bigru_tagger.network.embeddings.char_cnn`."""

    def __init__(
        self, weights: Weights, rows: int, width: int, out_channels: int, kernel_size: int
    ) -> None:
        """Take the parameters. See `CharCNNModule` for the others."""
        self._table = weights.under("table").take("weight", rows, width)
        convolution = weights.under("convolution")
        self._kernel = convolution.take("weight", out_channels, width, kernel_size)
        self._bias = convolution.take("bias", out_channels)
        self._products: np.ndarray | None = None
        self.width = out_channels

    def __call__(self, characters: np.ndarray) -> np.ndarray:
        """Embed words by their characters.

        characters (ndarray): rows of the table, padded with 0, int64 (n_words, n_characters).
        RETURNS (ndarray): vectors, float32 (n_words, out_channels).
        """
        if self._products is None:
            # The product of each character with each column of the kernel. A few rows are added
            # instead of a matrix product per position.
            kernel = np.ascontiguousarray(self._kernel.transpose(2, 1, 0))
            products = np.matmul(self._table, kernel)
            products[:, 0] = 0.0  # padding
            self._products = products  # (kernel_size, rows, out_channels)
        half = len(self._products) // 2
        lengths = (characters != 0).sum(1)
        steps = TimeSteps(lengths, first=np.zeros_like(lengths))
        padded = np.pad(characters, ((0, 0), (half, half)))
        features = self._products[0].take(padded[steps.sequence, steps.order], 0)
        for place, products in enumerate(self._products[1:], 1):
            features += products.take(padded[steps.sequence, steps.order + place], 0)
        # By length, longest word first.
        highest = np.full((len(characters), self.width), -np.inf, np.float32)
        for here in steps.slices:
            best = highest[: here.stop - here.start]
            np.maximum(best, features[here], out=best)
        highest += self._bias
        vectors = np.empty_like(highest)
        vectors[np.argsort(-lengths, kind="stable")] = highest
        return vectors


@register("char_gru")
class CharGRUArrays(ArrayEmbedding):
    """A bidirectional GRU over characters, see `bigru_tagger.network.embeddings.char_gru`."""

    def __init__(self, weights: Weights, rows: int, width: int, hidden: int) -> None:
        """Take the parameters. See `CharGRUModule` for the others."""
        self._table = weights.under("table").take("weight", rows, width)
        self._encoder = Encoder(weights.under("encoder"), width, [hidden])
        self._prepared: np.ndarray | None = None
        self.width = self._encoder.width

    def __call__(self, characters: np.ndarray) -> np.ndarray:
        """Embed words by their characters.

        characters (ndarray): rows of the table, padded with 0, int64 (n_words, n_characters).
        RETURNS (ndarray): vectors, float32 (n_words, 2 * hidden).
        """
        if self._prepared is None:
            self._prepared = self._encoder.prepare(self._table)
        used = characters != 0
        lengths = used.sum(1)
        states = self._encoder(lengths, (self._prepared, characters[used]), None)
        ends = lengths.cumsum()
        units = self.width // 2
        return np.concatenate([states[ends - 1, :units], states[ends - lengths, units:]], 1)


@register("clusters")
class ClusterArrays(ArrayEmbedding):
    """Clusters of words, see `bigru_tagger.network.embeddings.clusters.ClusterModule`."""

    def __init__(  # noqa: PLR0917 - as the torch module
        self,
        weights: Weights,
        n_words: int,
        n_clusters: int,
        n_prefixes: int,
        n_rows: int,
        width: int,
    ) -> None:
        """Take the parameters. See `ClusterModule` for the others."""
        self._keys = weights.take("keys", n_words, dtype="int64")
        self._clusters = weights.take("clusters", n_words, dtype="int32")
        self._rows = weights.take("rows", n_clusters + 1, n_prefixes, dtype="int64")
        self._table = weights.under("table").take("weight", n_rows, width)
        self.width = n_prefixes * width

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Look words up.

        candidates (ndarray): hashes of each word, best first, int64 or uint64
            (n_words, n_candidates).
        RETURNS (ndarray): vectors, float32 (n_words, n_prefixes * width).
        """
        found, known = look_up(self._keys, candidates)
        cluster = np.where(known, self._clusters[found], len(self._rows) - 1)
        vectors: np.ndarray = self._table[self._rows[cluster]]  # (n_words, n_prefixes, width)
        return vectors.reshape(len(candidates), self.width)


@register("gazetteer")
class GazetteerArrays(ArrayEmbedding):
    """Phrases in the text, see `bigru_tagger.network.embeddings.gazetteer.GazetteerModule`."""

    reads = "sequences"

    def __init__(
        self, weights: Weights, lists: Sequence[str], n_phrases: int, width: int, max_words: int
    ) -> None:
        """Take the parameters. See `GazetteerModule` for the others."""
        self._keys = weights.take("keys", n_phrases, dtype="int64")
        self._lists = weights.take("lists", n_phrases, dtype="int64")
        linear = weights.under("linear")
        self._weight = linear.take("weight", width, 4 * len(lists))
        self._bias = linear.take("bias", width)
        self._bits = np.arange(len(lists))
        self._max_words = max_words
        self.width = width

    def __call__(self, hashes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed tokens by the phrases that they are part of.

        hashes (ndarray): hash and power of each token, int64 (n_tokens, 2).
        lengths (ndarray): tokens of each sequence, int64 (n_sequences,).
        RETURNS (ndarray): vectors, float32 (n_tokens, width).
        """
        marks = self.mark(_signed(hashes), lengths)
        vectors: np.ndarray = (
            marks.reshape(len(hashes), self._weight.shape[1]).astype(np.float32) @ self._weight.T
        )
        vectors += self._bias
        return vectors

    def mark(self, hashes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Find the phrases.

        hashes (ndarray): see `__call__`.
        lengths (ndarray): see `__call__`.
        RETURNS (ndarray): whether the token begins, is inside, ends, or is a phrase of each list,
            bool (n_tokens, n_lists, 4).
        """
        n_lists = len(self._bits)
        marks = np.zeros((len(hashes), n_lists, 4), dtype=bool)
        covered = np.zeros((len(hashes), n_lists), dtype=bool)
        for n_words, starts, found in reversed(list(self._phrases(hashes, lengths))):
            # A phrase that overlaps a longer one of the same list is ignored.
            on_list = ((self._lists[found][:, None] >> self._bits) & 1).astype(bool)
            spans = starts[:, None] + np.arange(n_words)
            on_list &= ~covered[spans].any(1)
            for place, tokens in enumerate(spans.T):
                mark = _place(place, n_words)
                marks[tokens, :, mark] |= on_list
                covered[tokens] |= on_list
        return marks

    def _phrases(
        self, hashes: np.ndarray, lengths: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        # For each number of words, the first token of each phrase and the phrase's row.
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        grams = hashes[:, 0]
        # White space can be a token. A phrase may contain it, but not begin or end with it.
        visible = hashes[:, 1] != 1
        for n_words in range(1, min(self._max_words, len(hashes)) + 1):
            if n_words > 1:
                last = hashes[n_words - 1 :]
                grams = grams[:-1] * last[:, 1] + last[:, 0]
            whole = sequence[: len(grams)] == sequence[n_words - 1 :]
            whole &= visible[: len(grams)] & visible[n_words - 1 :]
            rows, known = look_up(self._keys, grams[:, None])
            starts = np.flatnonzero(whole & known)
            if len(starts):
                yield n_words, starts, rows[starts]


def _place(place: int, n_words: int) -> int:
    # The mark of a word in a phrase: begin, inside, end, or single.
    if n_words == 1:
        return 3
    return 0 if place == 0 else 2 if place == n_words - 1 else 1


class _Static(ArrayEmbedding):
    # Static vectors, with a learned vector for unknown words, and corrections; see
    # `bigru_tagger.network.embeddings.vectors.StaticVectors`.

    def __init__(self, weights: Weights, width: int, correction_rows: int) -> None:
        self._unknown = weights.take("unknown", width)
        self._correction: HashArrays | None = None
        if correction_rows:
            own = weights.under("correction")
            self._correction = HashArrays(own, [correction_rows], width, 0.0, correction=True)
        self.width = width

    def _finish(self, vectors: np.ndarray, known: Any, forms: np.ndarray) -> np.ndarray:
        # vectors, float32 (n_words, width); known, bool (n_words,); forms, (n_words, 1)
        filled = np.where(known[:, None], vectors, self._unknown)
        if self._correction is not None:
            filled += self._correction(forms)
        return filled


@register("vectors")
class VectorsArrays(_Static):
    """Static vectors of the vocab, see `bigru_tagger.network.embeddings.vectors.VectorsModule`."""

    def __init__(self, weights: Weights, width: int, correction_rows: int = 0) -> None:
        """Take the parameters. See `VectorsModule` for the others."""
        super().__init__(weights, width, correction_rows)

    def __call__(self, vectors: np.ndarray, forms: np.ndarray) -> np.ndarray:
        """Fill the rows of words without a vector.

        vectors (ndarray): static vectors, (n_words, width); zeros for a word without one.
        forms (ndarray): hash of each word's lower-cased form, int64 or uint64 (n_words, 1).
        RETURNS (ndarray): vectors, float32 (n_words, width).
        """
        known = np.any(vectors, axis=1)
        return self._finish(vectors.astype(np.float32, copy=False), known, forms)


@register("vector_file")
class VectorFileArrays(_Static):
    """A table of static vectors, see `bigru_tagger.network.embeddings.vector_file`."""

    def __init__(
        self, weights: Weights, n_words: int, width: int, half: bool, correction_rows: int = 0
    ) -> None:
        """Take the parameters. See `VectorFileModule` for the others."""
        super().__init__(weights, width, correction_rows)
        self._keys = weights.take("keys", n_words, dtype="int64")
        dtype = "float16" if half else "float32"
        self._table = weights.take("table", n_words, width, dtype=dtype)

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Look words up.

        candidates (ndarray): hashes of each word, best first, int64 or uint64
            (n_words, n_candidates). The second is that of its lower-cased form.
        RETURNS (ndarray): vectors, float32 (n_words, width).
        """
        rows, known = look_up(self._keys, candidates)
        vectors = self._table[rows].astype(np.float32, copy=False)  # of these words only
        return self._finish(vectors, known, candidates[:, 1:2])


@register("tok2vec")
class Tok2VecArrays(ArrayEmbedding):
    """Vectors that another network computed."""

    reads = "vectors"

    def __init__(self, weights: Weights, width: int) -> None:
        """Set the width. There are no parameters."""
        self.width = width

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Return the vectors.

        vectors (ndarray): vectors, (n_tokens, width).
        RETURNS (ndarray): the same vectors, float32.
        """
        return vectors.astype(np.float32, copy=False)


def look_up(keys: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the first candidate of each word that is a key.

    keys (ndarray): at least one key, in ascending order, int64 (n_keys,).
    candidates (ndarray): hashes of each word, best first, int64 or uint64 (n_words, n_candidates).
    RETURNS (tuple[ndarray, ndarray]): the row of the key, int64 (n_words,), and whether there is
        one, bool (n_words,).
    """
    candidates = _signed(candidates)
    rows = np.minimum(np.searchsorted(keys, candidates), len(keys) - 1)
    hits = keys[rows] == candidates
    first = hits.argmax(1)
    return rows[np.arange(len(rows)), first], hits.any(1)


def _signed(hashes: np.ndarray) -> np.ndarray:
    # Hashes as int64: the same bits.
    return hashes.astype(np.int64, copy=False)
