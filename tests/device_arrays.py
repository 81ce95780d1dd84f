"""Arrays that refuse to become NumPy's unasked, as CuPy's do, and thinc's operations on them."""

from typing import Any

import numpy as np
import spacy.vectors
from spacy.pipeline import TrainablePipe
from thinc.api import NumpyOps

from bigru_tagger.embeddings import vectors
from bigru_tagger.model import devices
from bigru_tagger.pipeline import finite


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose memory a CPU cannot read: only `get` copies it."""

    def __init__(self, values):
        self._values = np.asarray(values)

    def get(self):
        return self._values.copy()

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return on_device(getattr(ufunc, method))(*inputs, **kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._values, name)
        return on_device(value) if callable(value) else value

    def __getitem__(self, index):
        return on_device(self._values.__getitem__)(index)

    def __setitem__(self, index, value):
        self._values[_device_values(index)] = _device_values(value)

    def __len__(self):
        return len(self._values)

    def __float__(self):
        return float(self._values)


def _device_values(value) -> Any:
    # What a GPU can read: its own arrays, numbers and slices, and nothing of NumPy's.
    if isinstance(value, DeviceArray):
        return value._values
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(_device_values(part) for part in value)
    return value


def on_device(function):
    """Let a function of NumPy take and return `DeviceArray`."""

    def call(*args, **kwargs):
        found = function(
            *(_device_values(arg) for arg in args),
            **{name: _device_values(value) for name, value in kwargs.items()},
        )
        return DeviceArray(found) if isinstance(found, np.ndarray | np.generic) else found

    return call


class _DeviceLibrary:
    """The part of NumPy's functions that CuPy has, on `DeviceArray`."""

    ndarray = DeviceArray

    def __getattr__(self, name):
        return on_device(getattr(np, name))

    def asarray(self, values, dtype=None):
        values = values._values if isinstance(values, DeviceArray) else values
        return DeviceArray(np.asarray(values, dtype=dtype))


LIBRARY = _DeviceLibrary()


class DeviceOps(NumpyOps):
    """thinc's operations on `DeviceArray`."""

    name = "device"
    xp = LIBRARY

    def to_numpy(self, data, *, byte_order=None):
        return data.get() if isinstance(data, DeviceArray) else np.asarray(data)

    def asarray(self, data, dtype=None):
        return LIBRARY.asarray(data, dtype=dtype)

    def reduce_mean(self, X, lengths):  # noqa: N803
        return DeviceArray(super().reduce_mean(X.get(), lengths.get()))


def move_to_device(nlp, patch):
    """Put the vectors of a pipeline and the arrays of its models on the device.

    nlp (Language): an initialised pipeline.
    patch (MonkeyPatch): for the functions by which arrays go to torch and back.
    """
    real_to_torch = devices.xp2torch

    def get_array_module(array):
        return LIBRARY if isinstance(array, DeviceArray) else np

    def get_array_ops(array):
        return DeviceOps() if isinstance(array, DeviceArray) else NumpyOps()

    def xp2torch(array, device):
        return real_to_torch(
            array.get() if isinstance(array, DeviceArray) else array, device=device
        )

    def torch2xp(tensor, ops):
        return DeviceArray(tensor.numpy()) if isinstance(ops, DeviceOps) else tensor.numpy()

    patch.setattr(devices, "get_array_module", get_array_module)
    for module in (vectors, finite):
        patch.setattr(module, "get_array_module", get_array_module)
    patch.setattr(devices, "xp2torch", xp2torch)
    patch.setattr(devices, "torch2xp", torch2xp)
    patch.setattr(spacy.vectors, "get_array_ops", get_array_ops)
    if nlp.vocab.vectors.shape[0]:
        nlp.vocab.vectors.data = DeviceArray(nlp.vocab.vectors.data)
    for _, pipe in nlp.pipeline:
        if isinstance(pipe, TrainablePipe):
            for node in pipe.model.walk():
                node.ops = DeviceOps()
