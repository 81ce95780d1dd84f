"""The base class of thinc shims of torch modules. A `Trainer` updates their parameters.

PyTorch is imported for training, on a GPU, and for bfloat16. Float32 on a CPU needs NumPy only.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from thinc.api import Optimizer
from thinc.shims import Shim

from ..errors import ModelError
from .devices import (
    Precision,
    choose_device,
    is_pickled_for_worker,
    recurrent_precision,
    type_of,
    use_bfloat16,
    use_one_thread_if_forked,
    use_one_thread_in_worker,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .trainer import Trainer

NOT_INITIALISED = (
    "the network has no parameters yet: call nlp.initialize(), or load a trained pipeline"
)


def no_backprop(gradient: Any) -> list[Any]:
    """Backprop placeholder for predictions that raises when called.

    gradient (Any): any gradient.
    RAISES (ValueError): always.
    """
    raise ValueError("cannot backpropagate through a prediction: call begin_update instead")


class ModuleShim(Shim, ABC):
    """A thinc shim of a torch module.

    device (str): the name of the torch device.
    optimizer (Optimizer | None): thinc's optimizer of the last call of `finish_update`.
    predicts_in_bfloat16 (bool): whether prediction computes matrix products in bfloat16 on this
        device.
    """

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
        RAISES (ValueError): if there is no such device or precision. (MissingExtraError): if one
            needs torch, which is not installed.
        """
        super().__init__(None)
        self.device_name = device
        self.device = choose_device(device)
        self.mixed_precision = mixed_precision
        self.predict_precision: Precision = predict_precision
        self.allow_tf32 = allow_tf32
        self.predicts_in_bfloat16 = use_bfloat16(predict_precision, self.device)
        self.optimizer: Optimizer | None = None
        self._trainer: Trainer | None = None

    @property
    def is_initialised(self) -> bool:
        """Whether there are parameters."""
        return self._model is not None

    @property
    def module(self) -> "nn.Module":
        """The torch module.

        RAISES (ValueError): before initialisation.
        """
        use_one_thread_if_forked()
        if self._model is None:
            raise ModelError(NOT_INITIALISED)
        return cast("nn.Module", self._model)

    @module.setter
    def module(self, module: "nn.Module") -> None:
        self._set_module(module)

    def _set_module(self, module: "nn.Module") -> None:
        self._model = module.to(self.device)
        self._trainer = None

    @property
    def trainer(self) -> "Trainer":
        """The trainer of the module."""
        if self._trainer is None:
            self._trainer = self._make_trainer()
        return self._trainer

    def _make_trainer(self) -> "Trainer":
        from .trainer import Trainer  # noqa: PLC0415 - imports torch

        return Trainer(self.module, self.optimizer_key)

    @property
    def optimizer_key(self) -> str:
        """The first part of the keys of the module's parameters in thinc's optimizer."""
        return f"{__name__}.{self.id}"

    @property
    def learn_rate(self) -> float | None:
        """The learn rate of the last update, None before the first one."""
        return None if self._trainer is None else self._trainer.rate_watch.rate

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

    def _predict_autocast(self) -> contextlib.AbstractContextManager[Any]:
        return self._autocast(self.predicts_in_bfloat16)

    @contextlib.contextmanager
    def _autocast(self, enabled: bool) -> Iterator[None]:
        import torch  # noqa: PLC0415 - the module was built with it

        bfloat16 = torch.autocast(type_of(self.device), dtype=torch.bfloat16, enabled=enabled)
        with bfloat16, self._recurrent_precision():
            yield

    def _recurrent_precision(self) -> contextlib.AbstractContextManager[None]:
        return recurrent_precision(self.device, allow_tf32=self.allow_tf32)

    def _backprop(self, output: "Tensor") -> "Callable[[Tensor], None]":
        def backprop(gradient: "Tensor") -> None:
            if output.requires_grad:
                with self._recurrent_precision():
                    output.backward(gradient.to(output.dtype))

        return backprop

    def finish_update(self, optimizer: Optimizer) -> None:
        """See `Trainer.finish_update`.

        optimizer (Optimizer): thinc's optimizer, or the replacement that `nlp.rehearse` passes.
        """
        if isinstance(optimizer, Optimizer):
            self.optimizer = optimizer
        if self._model is not None:
            self.trainer.finish_update(optimizer)

    @contextlib.contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Use averaged parameters within the context, see `Trainer.use_params`.

        params (dict): the `averages` of the optimizer that updated this shim.
        """
        if self._model is None:
            yield
            return
        with self.trainer.use_params(params):
            yield

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the module to another device, unless the setting `device` is set.

        device_type (str): "cpu" or "gpu".
        device_id (int): index of the GPU.
        """
        if self.device_name is None:
            self.device = "cpu" if device_type == "cpu" else f"cuda:{device_id}"
            self.predicts_in_bfloat16 = use_bfloat16(self.predict_precision, self.device)
            if self._model is not None:
                self._set_module(self._model)

    @property
    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters and buffers by name; on a CPU, they share the memory of the module."""

    def not_finite(self) -> list[str]:
        """Find parameters and buffers with NaN or infinity.

        RETURNS (list[str]): their names.
        """
        if not self.is_initialised:
            return []
        return [name for name, array in self.arrays.items() if not np.isfinite(array).all()]

    def to_bytes(self) -> bytes:
        """Serialise the module.

        RETURNS (bytes): a safetensors file; empty before initialisation.
        RAISES (ValueError): if a weight is NaN or infinite.
        """
        if not self.is_initialised:
            return b""
        broken = self.not_finite()
        if broken:
            raise ModelError(f"weights that are NaN or infinite are not saved: {broken}")
        return self._write()

    def from_bytes(self, data: bytes) -> "ModuleShim":
        """Load a saved module.

        data (bytes): the output of `to_bytes`. If it is empty, the shim does not change.
        RETURNS (ModuleShim): self.
        RAISES (ValueError): if the data is not a saved module of this type.
        """
        if data:
            self._read(data)
        return self

    @abstractmethod
    def _write(self) -> bytes:
        """Serialise the module."""

    @abstractmethod
    def _read(self, data: bytes) -> None:
        """Load the module from the output of `_write`."""

    def __getstate__(self) -> dict[str, Any]:
        """Exclude caches and the optimizer's state from copies and pickles."""
        return {
            "settings": self.settings(),
            "for_worker": is_pickled_for_worker(),
            "data": self._write() if self.is_initialised else b"",
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy with a new id, so that it does not share averages with the original."""
        if state["for_worker"]:
            use_one_thread_in_worker()
        self.__init__(**state["settings"])  # type: ignore[misc]
        self.from_bytes(state["data"])
