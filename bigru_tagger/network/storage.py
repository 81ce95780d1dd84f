"""Tensors, and what tells how to use them, in one file: safetensors, and no pickle."""

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor


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
    RETURNS (Tuple[Dict[str, Tensor], Dict[str, Any]]): the tensors, on the CPU, and the spec.
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
