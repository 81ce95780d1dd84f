"""Tensors, and what tells how to use them, in one file: safetensors, and no pickle."""

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
    """Write tensors, and what tells how to use them, as one safetensors file.

    tensors (Mapping[str, Tensor]): the tensors, none of which share memory.
    key (str): the name of the spec in the file's metadata.
    spec (Mapping[str, Any]): plain JSON.
    RETURNS (bytes): the file.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(contiguous, metadata={key: json.dumps(spec)})


def unpack_tensors(data: bytes, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `pack_tensors` wrote.

    data (bytes): the file.
    key (str): the name of the spec.
    RETURNS (tuple[dict[str, Tensor], dict[str, Any]]): the tensors, on the CPU, and the spec.
    RAISES (ValueError): if the data is no safetensors file with such a spec.
    """
    try:
        tensors = safetensors.torch.load(data)
        # The format: 8 bytes for the length of a JSON header, the header, the tensors
        # (https://github.com/huggingface/safetensors#format).
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        spec: dict[str, Any] = json.loads(header["__metadata__"][key])
    except (SafetensorError, LookupError, ValueError) as error:
        raise ValueError(f"no safetensors file with {key!r}: {error}") from error
    return tensors, spec


class _NormalsLeftOut(TorchFunctionMode):
    # Normal numbers on the meta device come from a decomposition, for which torch imports all of
    # its compiler: seconds, for numbers that are nowhere.

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def on_meta() -> Iterator[None]:
    """Build modules on the meta device: they take no memory and draw no random numbers."""
    with torch.device("meta"), _NormalsLeftOut():
        yield


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare the tensors of a file with those of the module that its spec describes.

    tensors (Mapping[str, Tensor]): those of the file.
    expected (Mapping[str, Tensor]): those of the module, which may be on the meta device.
    RAISES (ValueError): if a tensor is missing or superfluous, or has another shape or type.
    """
    missing, superfluous = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or superfluous:
        raise ValueError(
            f"its spec demands {len(expected)} tensors, the file holds {len(tensors)}; missing: "
            f"{_some(missing)}; superfluous: {_some(superfluous)}"
        )
    for name, tensor in expected.items():
        if (tensors[name].shape, tensors[name].dtype) != (tensor.shape, tensor.dtype):
            raise ValueError(
                f"its spec demands {_describe(tensor)} for {name!r}, the file holds "
                f"{_describe(tensors[name])}"
            )


def _some(names: Set[str]) -> str:
    return ", ".join(sorted(names)[:3]) or "none"


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
