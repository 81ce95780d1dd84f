"""The thinc shim of a network. It predicts in NumPy, or in PyTorch on a GPU or in bfloat16."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..decoding.decoder import Decoder
from ..decoding.transitions import Array
from ..errors import ModelError
from ..extras import require
from ..runtime.ensemble import build_arrays, load_arrays
from ..runtime.network import ArrayNetwork, pack_network
from ..runtime.spec import NEW_TAG_MARGIN, Batch, NetworkSpec
from ..stages import EMBED, NETWORK, stage
from .cache import WordCache
from .devices import one_blas_thread, to_host, to_torch
from .module_shim import NOT_INITIALISED, ModuleShim

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..network.dropout import Dropout
    from ..network.network import Network, NetworkTrace

# Size of the cache of words in prediction: 15,000 words at 256 units and two directions.
_CACHE_BYTES = 3 << 25


class NetworkShim(ModuleShim):
    """The shim of a network. Its parameters are NumPy arrays until the torch module is needed."""

    def __init__(self, network: "Network | None" = None, **settings: Any) -> None:
        """Create a shim.

        network (Network | None): the network; None before initialisation.
        **settings: the arguments of `ModuleShim`.
        RAISES (ValueError): if a setting is not valid.
        """
        super().__init__(**settings)
        self.cache = WordCache(_CACHE_BYTES)
        self.features = WordCache(_CACHE_BYTES)
        self._runtime: ArrayNetwork | None = None
        self._runtime_changes = 0
        if network is not None:
            self.network = network

    @property
    def is_initialised(self) -> bool:
        """Whether there are parameters."""
        return self._model is not None or self._runtime is not None

    @property
    def module(self) -> "nn.Module":
        """The torch module. It is built from the loaded arrays when it is first used.

        RAISES (ValueError): before initialisation. (MissingExtraError): without torch.
        """
        if self._model is None and self._runtime is not None:
            require("torch", "training, a GPU or bfloat16")
            from ..network.ensemble import build_network  # noqa: PLC0415 - imports torch

            self._set_module(build_network(self._runtime.spec, self._runtime.arrays))
        return super().module

    @module.setter
    def module(self, module: "nn.Module") -> None:
        self._set_module(module)

    @property
    def network(self) -> "Network":
        """The torch network, see `module`."""
        return cast("Network", self.module)

    @network.setter
    def network(self, network: "Network") -> None:
        self._set_module(network)

    def _set_module(self, module: "nn.Module") -> None:
        super()._set_module(module)
        self._tensors = [*self._model.parameters(), *self._model.buffers()]
        self._runtime = None
        self.features.clear()  # a new network can have other embeddings

    @property
    def runtime(self) -> ArrayNetwork:
        """The network in NumPy. It shares the parameters with the torch network.

        RAISES (ValueError): before initialisation.
        """
        if self._model is not None:
            changes = self._changes
            if self._runtime is None or self._runtime_changes != changes:
                self._runtime = build_arrays(self._model.spec, self._model.arrays)
                self._runtime_changes = changes
        if self._runtime is None:
            raise ModelError(NOT_INITIALISED)
        return self._runtime

    @property
    def _holder(self) -> "Network | ArrayNetwork":
        # The network that holds the parameters.
        return self.runtime if self._model is None else self.network

    @property
    def spec(self) -> NetworkSpec:
        """The structure of the network.

        RAISES (ValueError): before initialisation.
        """
        return self._holder.spec

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """See `ModuleShim.arrays`."""
        return dict(self._holder.arrays)

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the parameters and buffers.

        arrays (Mapping[str, ndarray]): all of them by name, see `arrays`.
        RAISES (ValueError): if a name, a shape or a type does not fit the structure.
        """
        self._read(pack_network(self.spec, arrays))

    @property
    def decoder(self) -> Decoder:
        """The decoder.

        RAISES (ValueError): before initialisation, or if the network has no tags.
        """
        return self._holder.decoder

    def resize(self, n_tags: int, margin: float = NEW_TAG_MARGIN) -> None:
        """Add tags, see `Network.resize`.

        n_tags (int): the new number of tags.
        margin (float): see `Network.resize`.
        """
        network, trainer = self.network, self._trainer
        network.resize(n_tags, margin)
        self._set_module(network)
        if trainer is not None:  # averages of parameters that keep their shape stay
            trainer.reset_optimizer()
            self._trainer = trainer

    @property
    def uses_numpy(self) -> bool:
        """Whether prediction runs in NumPy: in float32 on a CPU."""
        return self.device == "cpu" and not self.predicts_in_bfloat16

    @property
    def version(self) -> tuple[Any, ...]:
        """The network, and numbers that change with its weights and precision, to check caches."""
        if self._model is None:
            return self.runtime, 0, int(self.uses_numpy)
        return self._model, self._changes, int(self.uses_numpy)

    @property
    def _changes(self) -> int:
        # Fused optimizer steps do not raise the versions of parameters.
        n_steps = 0 if self._trainer is None else self._trainer.n_steps
        n_changes: int = n_steps + sum(tensor._version for tensor in self._tensors)
        return n_changes

    def convert(self, array: Any) -> Array:
        """Convert an array for prediction.

        array (ndarray | Tensor): a NumPy or CuPy array, or a tensor.
        RETURNS (Array): a NumPy array, or a tensor on the shim's device.
        """
        return to_host(array) if self.uses_numpy else to_torch(array, self.device)

    def convert_groups(self, keys: np.ndarray) -> Array:
        """Convert the groups of tokens for prediction.

        keys (ndarray): a key for each token, which the tokens of a group share, int64 (n_tokens,).
        RETURNS (Array): groups for `Batch`.
        """
        if self.uses_numpy:
            return keys  # need not be consecutive
        return to_torch(keys, self.device).unique(return_inverse=True)[1]

    @stage(EMBED)
    def prepare(self, words: Mapping[str, tuple[Array, ...]]) -> dict[str, Array]:
        """Compute context-independent features once per word, with the precision of prediction.

        words (Mapping[str, tuple[Array, ...]]): see `Batch`, converted by `convert`.
        RETURNS (dict[str, Array]): the value of `Batch.prepared`: rows of words, (n_words, ...),
            by name.
        """
        if self.uses_numpy:
            with one_blas_thread():
                return self.runtime.prepare(words)
        with self._predicting() as network:
            prepared: dict[str, Array] = network.prepare(words)
        return prepared

    @stage(NETWORK)
    def predict(self, batch: Batch) -> Array:
        """Run the network in evaluation mode, without gradient.

        batch (Batch): the sequences, converted by `convert`.
        RETURNS (Array): logits, float32 (n_tokens, n_tags); hidden states, (n_tokens, width), for a
            network without tags.
        """
        if self.uses_numpy:
            with one_blas_thread():
                return self.runtime(batch)
        with self._predicting() as network:
            return network(batch).float()

    @contextlib.contextmanager
    def _predicting(self) -> "Iterator[Network]":
        network = self.network
        import torch  # noqa: PLC0415 - the network was built with it

        with torch.inference_mode(), self._predict_autocast():
            yield network.eval() if network.training else network  # `eval` visits all modules

    def trace(self, batch: Batch) -> "NetworkTrace":
        """Compute the gates and the parts of the logits of each token, in float32.

        batch (Batch): the sequences, as tensors on the shim's device.
        RETURNS (NetworkTrace): see `Network.trace`.
        RAISES (ValueError): if the cell is not a GRU.
        """
        network: Network = self.network.eval()
        return network.trace(batch)

    def begin_update(  # type: ignore[override]  # thinc passes one argument of any type
        self, batch: Batch, dropout: "Dropout"
    ) -> "tuple[Tensor, Callable[[Tensor], None]]":
        """Run the network in training mode.

        batch (Batch): the sequences, as tensors on the shim's device.
        dropout (Dropout): dropout rates.
        RETURNS (tuple[Tensor, Callable]): the output, and a callback that receives its gradient
            and accumulates the gradients of the parameters, and of tensors in the batch that
            require one.
        """
        network = self.network.train()
        with self._autocast(self.mixed_precision):
            output: Tensor = network(batch, dropout)
        return output, self._backprop(output)

    def to_device(self, device_type: str, device_id: int) -> None:
        """See `ModuleShim.to_device`."""
        super().to_device(device_type, device_id)
        self.cache.clear()
        self.features.clear()

    def _write(self) -> bytes:
        return pack_network(self.spec, self.arrays)

    def _read(self, data: bytes) -> None:
        self._model = None
        self._trainer = None
        self._runtime = load_arrays(data)
        self.cache.max_bytes = _CACHE_BYTES * self._runtime.spec.members
        self.features.clear()
