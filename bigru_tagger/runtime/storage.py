"""Safetensors files with a JSON spec in their metadata."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError


def pack_arrays(arrays: Mapping[str, np.ndarray], key: str, spec: Mapping[str, Any]) -> bytes:
    """Serialise arrays and a spec as a safetensors file.

    arrays (Mapping[str, ndarray]): the arrays.
    key (str): the name of the spec in the file's metadata.
    spec (Mapping[str, Any]): values that can be written as JSON.
    RETURNS (bytes): the file.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata={key: json.dumps(spec)})


def unpack_arrays(data: bytes, key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file written by `pack_arrays`.

    data (bytes): the file.
    key (str): the name of the spec.
    RETURNS (tuple[dict[str, ndarray], dict[str, Any]]): the arrays, and the spec.
    RAISES (ValueError): if the data is not a safetensors file with this spec.
    """
    try:
        arrays = safetensors.numpy.load(data)
        # The format: 8 bytes for the length of a JSON header, the header, the tensors
        # (https://github.com/huggingface/safetensors#format).
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        spec: dict[str, Any] = json.loads(header["__metadata__"][key])
    except (SafetensorError, LookupError, ValueError) as error:
        raise ValueError(f"not a safetensors file with {key!r}: {error}") from error
    return arrays, spec


class Weights:
    """The arrays of a saved network. Each is checked when it is taken."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Start with all arrays of a file.

        arrays (Mapping[str, ndarray]): the arrays by name.
        """
        self._arrays = arrays
        self._taken: set[str] = set()
        self._prefix = ""

    def under(self, name: str) -> "Weights":
        """Select a part of the network.

        name (str): the first part of the names, without the full stop that follows.
        RETURNS (Weights): a view of the arrays whose names start with it.
        """
        part = Weights(self._arrays)
        part._taken = self._taken
        part._prefix = f"{self._prefix}{name}."
        return part

    def take(self, name: str, *shape: int, dtype: str = "float32") -> np.ndarray:
        """Return an array.

        name (str): its name, without the prefix.
        *shape (int): its shape.
        dtype (str): its type.
        RETURNS (ndarray): the array.
        RAISES (ValueError): if it is missing, or has another shape or type.
        """
        name = self._prefix + name
        array = self._arrays.get(name)
        if array is None:
            raise ValueError(f"its spec requires the array {name!r}, the file does not contain it")
        is_count = all(type(size) is int for size in shape)  # 2.0 would equal 2
        if (array.shape, array.dtype) != (shape, np.dtype(dtype)) or not is_count:
            raise ValueError(
                f"its spec requires {dtype} {list(shape)} for {name!r}, the file contains "
                f"{array.dtype} {list(array.shape)}"
            )
        self._taken.add(name)
        return array

    def check_all_taken(self) -> None:
        """Check that the file contains no other arrays.

        RAISES (ValueError): if it does.
        """
        unexpected = sorted(self._arrays.keys() - self._taken)
        if unexpected:
            raise ValueError(
                f"the file contains {len(unexpected)} arrays that its spec does not describe: "
                f"{', '.join(unexpected[:3])}"
            )
