"""The base class of embeddings in NumPy, and the search for a class by its kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

import numpy as np

from ...errors import ModelError
from ..storage import Weights

Reads = Literal["words", "sequences", "vectors"]

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

    A kind without one is computed by PyTorch. The class is found like the torch module: by an
    import, or by the name of an entry point in the group `spacy_misc`.

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
        raise ModelError(f"embedding {name!r}: 'kind' must be a name; got {kind!r}")
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
    try:
        if kind not in _CLASSES:
            _import_kind(kind)
        if kind in _CLASSES:
            return _CLASSES[kind](weights, **arguments)
        return TorchEmbedding(name, kind, arguments, weights)
    except ImportError as error:
        if error.name != "torch":
            raise
        if not entry_points(group="spacy_misc", name=kind):
            raise ModelError(
                f"embedding {name!r}: no installed package defines the kind {kind!r}: install the "
                "package that does, or import its module first. If it has no version for NumPy, it "
                "also needs PyTorch: pip install 'bigru-tagger[torch]'"
            ) from error
        raise ModelError(
            f"embedding {name!r}: the kind {kind!r} has no version for NumPy, so it needs "
            "PyTorch: pip install 'bigru-tagger[torch]'"
        ) from error


def _import_kind(kind: str) -> None:
    # Import a module of this package, or of an entry point, as for the torch modules.
    if kind.isidentifier() and find_spec(f"{__package__}.{kind}"):
        import_module(f"{__package__}.{kind}")
    for point in entry_points(group="spacy_misc", name=kind):
        point.load()


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
        RAISES (ValueError): if there is no such kind, or the parameters do not fit.
        RAISES (ImportError): if PyTorch is not installed.
        """
        # By name, since the networks of PyTorch are built on top of this package.
        network = "bigru_tagger.network"
        self._torch = import_module("torch")
        build_module = import_module(f"{network}.embeddings.base").build_module
        on_meta = import_module(f"{network}.meta").on_meta
        self._layout = import_module(f"{network}.layout").Layout
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
