"""The state of a training as a file, to go on with it as if it had not stopped.

It has the weights, the state of thinc's and torch's optimizers, and the random states. Schedules
are not part of it: the training loop steps them to where they were.
"""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from thinc.api import Model, Optimizer

from ..decoding.transitions import to_numpy
from ..errors import ModelError
from .devices import to_host
from .module_shim import ModuleShim

Models: TypeAlias = Mapping[str, Model[Any, Any]]

_METADATA = "training"
_TABLES = ("mom1", "mom2", "averages")
_COUNTS = ("nr_update", "last_seen")


def find_optimizer(models: Models) -> Optimizer | None:
    """Find the optimizer that updates the models.

    models (Mapping[str, Model]): the models by the names of their components.
    RETURNS (Optimizer | None): thinc's optimizer; None before the first update, and if no model has
        a network of this package.
    """
    shims = (layer for layer in _layers(models).values() if isinstance(layer, ModuleShim))
    return next((shim.optimizer for shim in shims if shim.optimizer is not None), None)


def cannot_be_stored(models: Models) -> str:
    """Find out whether the state of the training of some models can be stored.

    models (Mapping[str, Model]): the models by the names of their components.
    RETURNS (str): the reason if it cannot be stored, else an empty string.
    """
    foreign = {
        f"{name} has a {type(shim).__name__}"
        for name, model in models.items()
        for node in model.walk()
        for shim in node.shims
        if not isinstance(shim, ModuleShim)
    }
    if foreign:
        return f"{', '.join(sorted(foreign))}, whose state is unknown"
    if not any(isinstance(layer, ModuleShim) for layer in _layers(models).values()):
        return "no component of bigru-tagger is trained"
    return ""


def _layers(models: Models) -> dict[str, Any]:
    """Find what has parameters: thinc's nodes and our shims, by names that all processes share."""
    layers: dict[str, Any] = {}
    for name, model in models.items():
        for i, node in enumerate(model.walk()):
            layers[f"{name}.{i}"] = node
            own = (shim for shim in node.shims if isinstance(shim, ModuleShim))
            layers.update({f"{name}.{i}.{j}": shim for j, shim in enumerate(own)})
    return layers


def _keys(models: Models) -> dict[str, Any]:
    # What the optimizer of this process calls the layers.
    return {
        position: layer.optimizer_key if isinstance(layer, ModuleShim) else layer.id
        for position, layer in _layers(models).items()
    }


def pack_state(models: Models, optimizer: Optimizer, progress: Any) -> bytes:
    """Serialise the state of a training.

    models (Mapping[str, Model]): the models that are trained, by the names of their components.
    optimizer (Optimizer): thinc's optimizer.
    progress (Any): what else to store. It must be serialisable as JSON.
    RETURNS (bytes): a safetensors file.
    """
    arrays = {
        json.dumps(label): np.asarray(value, order="C")
        for label, value in _arrays(models, optimizer)
    }
    torch_settings = {
        position: layer.trainer.state()["param_groups"]
        for position, layer in _layers(models).items()
        if isinstance(layer, ModuleShim) and layer.trainer.state()
    }
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - thinc uses it
    content = {
        "progress": progress,
        "torch": torch_settings,
        "python_random": random.getstate(),
        "numpy_random": [kind, np.asarray(keys).tolist(), *rest],
    }
    return save(arrays, {_METADATA: json.dumps(content, default=float)})


def _arrays(models: Models, optimizer: Optimizer) -> Iterator[tuple[list[Any], np.ndarray]]:
    for name, model in models.items():
        yield ["weights", name], np.frombuffer(model.to_bytes(), np.uint8)
    positions = {key: position for position, key in _keys(models).items()}
    for table in (*_TABLES, *_COUNTS):
        for (key, name), value in (getattr(optimizer, table) or {}).items():
            array = np.array(value) if table in _COUNTS else to_numpy(to_host(value))
            yield [table, positions[key], name], array
    for position, layer in _layers(models).items():
        if isinstance(layer, ModuleShim):
            for index, values in layer.trainer.state().get("state", {}).items():
                for name, value in values.items():
                    if value is not None:
                        yield ["torch", position, index, name], to_numpy(value)
    yield ["random", "cpu"], torch.get_rng_state().numpy()
    if torch.cuda.is_available():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            yield ["random", number], state.numpy()


def read_progress(path: Path) -> Any:
    """Read what `pack_state` stored as `progress`, without the arrays.

    path (Path): the file.
    RETURNS (Any): its `progress`.
    RAISES (ValueError): the file is damaged.
    """
    return _read_metadata(path)["progress"]


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "np") as file:
            content: dict[str, Any] = json.loads(file.metadata()[_METADATA])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}): remove it to start again") from error
    return content


def restore_state(path: Path, models: Models, optimizer: Optimizer) -> None:
    """Restore the state of a training.

    path (Path): a file that was written by `pack_state`.
    models (Mapping[str, Model]): the initialised models. Their shapes are those of the stored ones.
    optimizer (Optimizer): thinc's optimizer, whose schedules were stepped to where they were.
    """
    content = _read_metadata(path)
    with safe_open(path, "np") as file:
        arrays = {tuple(json.loads(name)): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, model in models.items():
        model.from_bytes(arrays["weights", name].tobytes())
    layers, keys = _layers(models), _keys(models)
    for table in (*_TABLES, *_COUNTS):
        if (values := getattr(optimizer, table)) is not None:
            values.clear()
    torch_states: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in content["torch"]}
    for (table, position, *label), array in arrays.items():
        if table == "torch":
            index, name = label
            torch_states[position].setdefault(index, {})[name] = torch.from_numpy(array)
        elif table in _COUNTS:
            getattr(optimizer, table)[keys[position], label[0]] = int(array)
        elif table in _TABLES:
            layer = layers[position]
            if isinstance(layer, ModuleShim):
                value = torch.from_numpy(array).to(layer.device)
            else:
                value = layer.ops.asarray(array)
            getattr(optimizer, table)[keys[position], label[0]] = value
    for position, groups in content["torch"].items():
        state = {"state": torch_states[position], "param_groups": groups}
        layers[position].trainer.restore(optimizer, state)
    version, numbers, gauss = content["python_random"]
    random.setstate((version, tuple(numbers), gauss))
    kind, seeds, *rest = content["numpy_random"]
    np.random.set_state((kind, np.array(seeds, np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(arrays["random", "cpu"]))
    for number in range(torch.cuda.device_count()):
        # The training may have been stopped on a machine without this GPU.
        if ("random", number) in arrays:
            torch.cuda.set_rng_state(torch.from_numpy(arrays["random", number]), number)
