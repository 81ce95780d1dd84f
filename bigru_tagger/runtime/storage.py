"""Safetensors files with a JSON spec in their metadata."""

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..errors import ModelError

# A key in saved files. Files of version 0.2 and before do not have it.
_CHECKSUM_KEY = "bigru_tagger.checksum"


def checksum(parts: Iterable[bytes | memoryview]) -> str:
    """Compute a checksum, which finds accidental changes. It is no protection against forgery.

    parts (Iterable[bytes | memoryview]): the content.
    RETURNS (str): CRC-32 of all parts, as eight hexadecimal digits after the name.
    """
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return f"crc32:{value:08x}"


def checksum_arrays(arrays: Mapping[str, np.ndarray], text: str = "") -> str:
    """Compute a checksum of arrays, with their names, shapes and types.

    arrays (Mapping[str, ndarray]): the arrays.
    text (str): text that belongs to them.
    RETURNS (str): see `checksum`.
    """
    parts: list[bytes | memoryview] = [text.encode()]
    for name, array in sorted(arrays.items()):
        described = f"{name} {array.dtype.str} {array.shape}"
        parts += [described.encode(), np.ascontiguousarray(array).reshape(-1).data]
    return checksum(parts)


def check(expected: object, found: str, place: str, advice: str) -> None:
    """Compare a stored checksum with that of the content.

    expected (object): the stored checksum; None for files of earlier versions, which have none.
    found (str): the checksum of the content.
    place (str): the content, for the error message.
    advice (str): what to do if it was changed on purpose.
    RAISES (ModelError): if they differ.
    """
    if expected is not None and expected != found:
        raise ModelError(
            f"{place} has changed since it was saved (checksum {found}, not {expected}): copy or "
            f"download the model again. {advice}"
        )


def pack_arrays(arrays: Mapping[str, np.ndarray], key: str, spec: Mapping[str, Any]) -> bytes:
    """Serialise arrays and a spec as a safetensors file.

    arrays (Mapping[str, ndarray]): the arrays.
    key (str): the name of the spec in the file's metadata.
    spec (Mapping[str, Any]): values that can be written as JSON.
    RETURNS (bytes): the file.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(spec)
    metadata = {key: text, _CHECKSUM_KEY: checksum_arrays(contiguous, text)}
    data = safetensors.numpy.save(contiguous, metadata=metadata)
    # safetensors writes metadata in a random order. Equal networks must give equal bytes.
    header, arrays_begin = _read_header(data)
    header["__metadata__"] = metadata
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # aligns the arrays
    return len(encoded).to_bytes(8, "little") + encoded + data[arrays_begin:]


def _read_header(data: bytes) -> tuple[dict[str, Any], int]:
    # The format: 8 bytes for the length of a JSON header, the header, the arrays
    # (https://github.com/huggingface/safetensors#format).
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), end


def unpack_arrays(data: bytes, key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file written by `pack_arrays`.

    data (bytes): the file.
    key (str): the name of the spec.
    RETURNS (tuple[dict[str, ndarray], dict[str, Any]]): the arrays, and the spec.
    RAISES (ModelError): if the data is not a safetensors file with this spec, or has changed since
        it was saved.
    """
    try:
        arrays = safetensors.numpy.load(data)
        metadata = _read_header(data)[0]["__metadata__"]
        text = metadata[key]
        spec: dict[str, Any] = json.loads(text)
    except (SafetensorError, LookupError, ValueError, AttributeError) as error:
        raise ModelError(f"not a safetensors file with {key!r}: {error}") from error
    advice = f"If it was changed on purpose, remove {_CHECKSUM_KEY!r} from its header"
    check(metadata.get(_CHECKSUM_KEY), checksum_arrays(arrays, text), "the network", advice)
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
            raise ModelError(f"its spec requires the array {name!r}, the file does not contain it")
        is_count = all(type(size) is int for size in shape)  # 2.0 would equal 2
        if (array.shape, array.dtype) != (shape, np.dtype(dtype)) or not is_count:
            raise ModelError(
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
            raise ModelError(
                f"the file contains {len(unexpected)} arrays that its spec does not describe: "
                f"{', '.join(unexpected[:3])}"
            )
