"""Safetensors files with a JSON spec in their metadata."""

import json
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def pack_tensors(tensors: Mapping[str, Tensor], key: str, spec: Mapping[str, Any]) -> bytes:
    """Serialise tensors and a spec as a safetensors file.

    tensors (Mapping[str, Tensor]): the tensors, which must not share memory.
    key (str): the name of the spec in the file's metadata.
    spec (Mapping[str, Any]): values that can be written as JSON.
    RETURNS (bytes): the file.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(contiguous, metadata={key: json.dumps(spec)})


def unpack_tensors(data: bytes, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `pack_tensors`.

    data (bytes): the file.
    key (str): the name of the spec.
    RETURNS (tuple[dict[str, Tensor], dict[str, Any]]): the tensors, on the CPU, and the spec.
    RAISES (ValueError): if the data is not a safetensors file with this spec.
    """
    try:
        tensors = safetensors.torch.load(data)
        # The format: 8 bytes for the length of a JSON header, the header, the tensors
        # (https://github.com/huggingface/safetensors#format).
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        spec: dict[str, Any] = json.loads(header["__metadata__"][key])
    except (SafetensorError, LookupError, ValueError) as error:
        raise ValueError(f"not a safetensors file with {key!r}: {error}") from error
    return tensors, spec


class _SkipNormals(TorchFunctionMode):
    # On the meta device, torch draws normal numbers by a decomposition and imports its compiler
    # for that, which takes seconds.

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def on_meta() -> Iterator[None]:
    """Build modules on the meta device, without memory and random numbers."""
    with torch.device("meta"), _SkipNormals():
        yield


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare the tensors of a file with those of the module that its spec describes.

    tensors (Mapping[str, Tensor]): the tensors of the file.
    expected (Mapping[str, Tensor]): the tensors of the module, possibly on the meta device.
    RAISES (ValueError): if a tensor is missing, unexpected, or has another shape or type.
    """
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unexpected:
        raise ValueError(
            f"its spec requires {len(expected)} tensors, the file contains {len(tensors)}; "
            f"missing: {_some(missing)}; unexpected: {_some(unexpected)}"
        )
    for name, tensor in expected.items():
        if (tensors[name].shape, tensors[name].dtype) != (tensor.shape, tensor.dtype):
            raise ValueError(
                f"its spec requires {_describe(tensor)} for {name!r}, the file contains "
                f"{_describe(tensors[name])}"
            )


def _some(names: Set[str]) -> str:
    return ", ".join(sorted(names)[:3]) or "none"


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
