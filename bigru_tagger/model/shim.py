"""thinc shims for torch modules: optimizer steps, averages, serialisation.

thinc's own PyTorch shim does not support `use_averages` and `nlp.rehearse`, saves parameters by
pickle, and updates them one by one. These shims support both, save safetensors, and update all
parameters at once.
"""

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from thinc.api import Optimizer
from thinc.shims import Shim
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..network.encoder import NO_DROPOUT, Dropout
from ..network.network import NEW_TAG_MARGIN, Network, NetworkTrace
from ..runtime.spec import Batch
from ..stages import EMBED, NETWORK, stage
from .cache import WordCache
from .devices import (
    Precision,
    choose_device,
    is_pickled_for_worker,
    recurrent_precision,
    use_bfloat16,
    use_one_thread_if_forked,
    use_one_thread_in_worker,
)
from .optimizers import LearnRateWatch, TorchStep

_Module = TypeVar("_Module", bound=nn.Module)

# Size of the cache of words in prediction: 20,000 words at 256 units and two directions.
_CACHE_BYTES = 1 << 27


def no_backprop(gradient: Any) -> list[Any]:
    """Backprop placeholder for predictions that raises when called.

    gradient (Any): any gradient.
    RAISES (ValueError): always.
    """
    raise ValueError("cannot backpropagate through a prediction: call begin_update instead")


def tensors_of(*modules: nn.Module) -> list[Tensor]:
    """Collect the parameters and buffers of modules.

    *modules (Module): modules.
    RETURNS (list[Tensor]): their tensors. Each has a version that in-place changes raise.
    """
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


class ModuleShim(Shim, ABC):
    """A thinc shim that updates, averages and saves a torch module."""

    def __init__(
        self,
        *,
        device: str | None = None,
        mixed_precision: bool = False,
        predict_precision: Precision = "float32",
        allow_tf32: bool = False,
    ) -> None:
        """Create an empty shim.

        device (str | None): see `choose_device`.
        mixed_precision (bool): train with torch's automatic mixed precision in bfloat16.
        predict_precision (str): see `use_bfloat16`.
        allow_tf32 (bool): see `recurrent_precision`.
        RAISES (ValueError): if there is no such device or precision.
        """
        super().__init__(None)
        self.device_name = device
        self.device = choose_device(device)
        self.mixed_precision = mixed_precision
        self.predict_precision: Precision = predict_precision
        self.allow_tf32 = allow_tf32
        use_bfloat16(predict_precision, self.device)
        self._n_steps = 0
        self.rate_watch = LearnRateWatch()
        self._reset_optimizer()

    @property
    def module(self) -> nn.Module:
        """The torch module.

        RAISES (ValueError): before initialisation.
        """
        use_one_thread_if_forked()
        if self._model is None:
            raise ValueError(
                "the network has no parameters yet: call nlp.initialize(), or load a trained "
                "pipeline"
            )
        module: nn.Module = self._model
        return module

    @module.setter
    def module(self, module: nn.Module) -> None:
        self._set_module(module)

    @property
    def is_initialised(self) -> bool:
        """Whether there is a module."""
        return self._model is not None

    def _set_module(self, module: nn.Module) -> None:
        self._model = module.to(self.device)
        self._reset_optimizer()

    def _reset_optimizer(self) -> None:
        self._optimizer: torch.optim.Optimizer | None = None
        self._optimizer_of: Any = None

    def _parameter_groups(self, optimizer: Any) -> list[dict[str, Any]]:
        # For the torch optimizer. Its learn rate is that of thinc's optimizer times `rate_scale`.
        return [{"params": list(self.module.parameters()), "rate_scale": 1.0}]

    def settings(self) -> dict[str, Any]:
        """Return the settings of the shim.

        RETURNS (dict[str, Any]): keyword arguments of the class.
        """
        return {
            "device": self.device_name,
            "mixed_precision": self.mixed_precision,
            "predict_precision": self.predict_precision,
            "allow_tf32": self.allow_tf32,
        }

    @property
    def predicts_in_bfloat16(self) -> bool:
        """Whether prediction computes matrix products in bfloat16 on this device."""
        return use_bfloat16(self.predict_precision, self.device)

    def _predict_autocast(self) -> contextlib.AbstractContextManager[Any]:
        return self._autocast(self.predicts_in_bfloat16)

    @contextlib.contextmanager
    def _autocast(self, enabled: bool) -> Iterator[None]:
        bfloat16 = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)
        with bfloat16, self._recurrent_precision():
            yield

    def _recurrent_precision(self) -> contextlib.AbstractContextManager[None]:
        return recurrent_precision(self.device, allow_tf32=self.allow_tf32)

    def _evaluating(self, module: _Module) -> _Module:
        return module.eval() if module.training else module  # `eval` iterates over all modules

    def _backprop(self, output: Tensor) -> Callable[[Tensor], None]:
        def backprop(gradient: Tensor) -> None:
            if output.requires_grad:
                with self._recurrent_precision():
                    output.backward(gradient.to(output.dtype))

        return backprop

    def finish_update(self, optimizer: Optimizer) -> None:
        """Update all parameters at once with the settings of thinc's optimizer. Clear gradients.

        Unlike in thinc, gradients are clipped by their norm over the whole module, not per
        parameter. Averages are stored in `optimizer.averages` under keys of this shim.

        optimizer (Optimizer): thinc's optimizer, or the replacement that `nlp.rehearse` passes.
        """
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        if not parameters:
            return
        step = TorchStep.read(optimizer)
        self.rate_watch.record(optimizer, step.learn_rate)
        # The replacement that `nlp.rehearse` passes uses the moments of the last optimizer.
        changed = isinstance(optimizer, Optimizer) and optimizer is not self._optimizer_of
        if self._optimizer is None or changed:
            self._optimizer = step.build(self._parameter_groups(optimizer))
            self._optimizer_of = optimizer
        if step.grad_clip > 0.0:
            nn.utils.clip_grad_norm_(parameters, step.grad_clip)
        step.apply(self._optimizer)
        self._optimizer.step()
        self._n_steps += 1
        self.module.train()  # clears weights that are cached for prediction
        self._optimizer.zero_grad(set_to_none=True)
        averages = getattr(optimizer, "averages", None)
        if averages is not None:
            self._update_averages(averages, optimizer.nr_update)

    def _update_averages(self, averages: dict[Any, Any], nr_update: dict[Any, int]) -> None:
        parameters = {
            name: parameter
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad
        }
        clock = (self.id, "network")
        nr_update[clock] += 1
        # The same rate as in thinc's `Ops.update_averages`, fast at first, then slow.
        count = nr_update[clock]
        decay = min((1.0 + count) / (10.0 + count), 0.9999)
        for name, parameter in parameters.items():
            kept = averages.get(self._key(name))
            if kept is None or kept.shape != parameter.shape:  # new, or resized
                averages[self._key(name)] = parameter.detach().clone()
        get_ema_multi_avg_fn(decay)(
            [averages[self._key(name)] for name in parameters],
            [parameter.detach() for parameter in parameters.values()],
            count,
        )

    def _key(self, name: str) -> tuple[str, str]:
        # thinc's models have keys of the form (number, name), so these cannot collide with them.
        return (f"{__name__}.{self.id}", name)

    @contextlib.contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Use averaged parameters within the context.

        params (dict): the `averages` of the optimizer that updated this shim. Other keys are
            ignored.
        """
        named = dict(self._model.named_parameters()) if self.is_initialised else {}
        kept = {name: params.get(self._key(name)) for name in named}
        averaged = {  # without averages from before a resize
            name: average
            for name, average in kept.items()
            if average is not None and average.shape == named[name].shape
        }
        backup = {name: named[name].detach().clone() for name in averaged}
        try:
            _assign(named, averaged)
            yield
        finally:
            _assign(named, backup)

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the module to another device, unless the setting `device` is set.

        device_type (str): "cpu" or "gpu".
        device_id (int): index of the GPU.
        """
        if self.device_name is None:
            self.device = torch.device("cpu" if device_type == "cpu" else f"cuda:{device_id}")
            if self.is_initialised:
                self._model.to(self.device)
                self._reset_optimizer()

    def not_finite(self) -> list[str]:
        """Find parameters and buffers with NaN or infinity.

        RETURNS (list[str]): their names.
        """
        if not self.is_initialised:
            return []
        named = itertools.chain(self.module.named_parameters(), self.module.named_buffers())
        return [name for name, tensor in named if not bool(torch.isfinite(tensor).all())]

    def to_bytes(self) -> bytes:
        """Serialise the module.

        RETURNS (bytes): a safetensors file; empty before initialisation.
        RAISES (ValueError): if a weight is NaN or infinite.
        """
        if not self.is_initialised:
            return b""
        broken = self.not_finite()
        if broken:
            raise ValueError(f"weights that are NaN or infinite are not saved: {broken}")
        data: bytes = self._model.to_bytes()
        return data

    def from_bytes(self, data: bytes) -> "ModuleShim":
        """Load a saved module.

        data (bytes): the output of `to_bytes`. If it is empty, the shim does not change.
        RETURNS (ModuleShim): self.
        RAISES (ValueError): if the data is not a saved module of this type.
        """
        if data:
            self.module = self._read(data)
        return self

    @abstractmethod
    def _read(self, data: bytes) -> nn.Module:
        """Load a module from the output of `to_bytes`."""

    def __getstate__(self) -> dict[str, Any]:
        """Exclude caches and the optimizer's state from copies and pickles."""
        return {**self._origin(), "module": self._model}

    def _origin(self) -> dict[str, Any]:
        return {"settings": self.settings(), "for_worker": is_pickled_for_worker()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy with a new id, so that it does not share averages with the original."""
        self._begin(state)
        if state["module"] is not None:
            self.module = state["module"]

    def _begin(self, state: dict[str, Any]) -> None:
        if state.get("for_worker"):
            use_one_thread_in_worker()
        self.__init__(**state["settings"])  # type: ignore[misc]


class NetworkShim(ModuleShim):
    """The shim of a `Network`."""

    def __init__(self, network: Network | None = None, **settings: Any) -> None:
        """Create a shim.

        network (Network | None): the network; None before initialisation.
        **settings: the arguments of `ModuleShim`.
        RAISES (ValueError): if a setting is not valid.
        """
        super().__init__(**settings)
        self.cache = WordCache(_CACHE_BYTES)
        self.features = WordCache(_CACHE_BYTES)
        if network is not None:
            self.network = network

    @property
    def network(self) -> Network:
        """The network.

        RAISES (ValueError): before initialisation.
        """
        return cast(Network, self.module)

    @network.setter
    def network(self, network: Network) -> None:
        self.module = network

    def _set_module(self, module: nn.Module) -> None:
        super()._set_module(module)
        self._embedding_tensors = tensors_of(self.network.embed, self.network.encoder)
        self.features.clear()  # a new network can have other embeddings

    def resize(self, n_tags: int, margin: float = NEW_TAG_MARGIN) -> None:
        """Add tags, see `Network.resize`.

        n_tags (int): the new number of tags.
        margin (float): see `Network.resize`.
        """
        self.network.resize(n_tags, margin)
        self._reset_optimizer()

    @property
    def version(self) -> tuple[Any, ...]:
        """The network, and a number that every change of its weights raises, to check caches."""
        network = self.network
        # Fused optimizer steps do not raise the versions of parameters.
        changes = self._n_steps + sum(tensor._version for tensor in self._embedding_tensors)
        return network, changes

    @stage(EMBED)
    def prepare(self, words: Mapping[str, tuple[Tensor, ...]]) -> dict[str, Tensor]:
        """Compute context-independent features once per word, with the precision of prediction.

        words (Mapping[str, tuple[Tensor, ...]]): see `Batch`, on the shim's device.
        RETURNS (dict[str, Tensor]): see `Network.prepare`.
        """
        network = self._evaluating(self.network)
        with torch.inference_mode(), self._predict_autocast():
            return network.prepare(words)

    @stage(NETWORK)
    def predict(self, batch: Batch) -> Tensor:
        """Run the network in evaluation mode, without gradient.

        batch (Batch): the sequences, on the shim's device.
        RETURNS (Tensor): see `Network.forward`.
        """
        network = self._evaluating(self.network)
        with torch.inference_mode(), self._predict_autocast():
            output: Tensor = network(batch)
        return output

    def trace(self, batch: Batch) -> NetworkTrace:
        """Compute the gates and the parts of the logits of each token, in float32.

        batch (Batch): the sequences, on the shim's device.
        RETURNS (NetworkTrace): see `Network.trace`.
        RAISES (ValueError): if the cell is not a GRU.
        """
        return self._evaluating(self.network).trace(batch)

    def begin_update(
        self, batch: Batch, dropout: Dropout = NO_DROPOUT
    ) -> tuple[Tensor, Callable[[Tensor], None]]:
        """Run the network in training mode.

        batch (Batch): the sequences, on the shim's device.
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

    def _read(self, data: bytes) -> Network:
        return Network.from_bytes(data)


def _assign(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)
