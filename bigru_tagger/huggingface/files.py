"""Check the files of a model in Hugging Face's format before their content takes memory."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    cached_file,
)
from transformers.utils.hub import get_checkpoint_shard_files

from ..errors import ModelError, loading
from ..network.meta import on_meta
from ..network.network import Network
from ..runtime.spec import NetworkSpec
from ..runtime.storage import check, checksum_arrays

if TYPE_CHECKING:
    import numpy as np

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
"""Arguments of `from_pretrained` that choose a file of a repository."""

# The names of types in safetensors files.
_TYPES = {
    torch.bfloat16: "BF16",
    torch.bool: "BOOL",
    torch.float16: "F16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.uint8: "U8",
}


@contextmanager
def loading_from(source: object) -> Iterator[None]:
    """Convert the errors of damaged files in a folder, see `loading`.

    source (object): a folder, or the name of a repository.
    RAISES (ModelError): if a file is damaged or missing. (OSError): if there is no such folder or
        repository.
    """
    try:
        with loading(source):
            yield
    except ModelError as error:
        if isinstance(error.__cause__, OSError) and not Path(str(source)).is_dir():
            raise error.__cause__ from None
        raise


def find_weights(source: str, options: Mapping[str, Any]) -> list[Path]:
    """Find the files with the weights. Those of a repository are downloaded.

    source (str): a folder, or the name of a repository.
    options (Mapping[str, Any]): the arguments of `from_pretrained`.
    RETURNS (list[Path]): the safetensors files.
    RAISES (ModelError): if there are none. Other formats are not read, since they can run code.
    """
    variant = options.get("variant")
    options = {name: options[name] for name in HUB_OPTIONS if options.get(name) is not None}
    optional = {**options, "_raise_exceptions_for_missing_entries": False}
    file = cached_file(source, _with_variant(SAFE_WEIGHTS_NAME, variant), **optional)
    if file is not None:
        return [Path(file)]
    index = cached_file(source, _with_variant(SAFE_WEIGHTS_INDEX_NAME, variant), **optional)
    if index is None:
        raise ModelError(
            f"{source}: no {SAFE_WEIGHTS_NAME}: copy or download the model again. Only safetensors "
            "files are read: convert others in a place where they cannot do harm"
        )
    return [Path(shard) for shard in get_checkpoint_shard_files(source, index, **options)[0]]


def _with_variant(name: str, variant: str | None) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}" if variant else name


def check_shapes(files: Iterable[Path], spec: NetworkSpec, vocab_bytes: int) -> None:
    """Compare the headers of the files with the network, without taking memory for it.

    files (Iterable[Path]): the safetensors files.
    spec (NetworkSpec): the structure of the network in the config.
    vocab_bytes (int): the size of the vocab in the config.
    RAISES (ModelError): if an array is missing, or has another shape or type.
    """
    found: dict[str, str] = {}
    for file in files:
        with safe_open(file, "pt") as arrays:
            names = arrays.keys()
            for name in names:
                part = arrays.get_slice(name)
                found[name] = _describe(part.get_dtype(), part.get_shape())
    if len(spec.hidden) > len(found):
        raise ModelError(
            f"config.json has {len(spec.hidden)} layers, but the file has {len(found)} arrays: "
            "convert or download the model again"
        )
    with on_meta():
        network = Network(spec)
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    expected = {name: _describe(_TYPES[x.dtype], x.shape) for name, x in tensors.items()}
    expected["vocab"] = _describe("U8", [vocab_bytes])
    wrong = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if wrong:
        name = wrong[0]
        raise ModelError(
            f"the weights do not match the network in config.json: {name} is "
            f"{found.get(name, 'missing')} instead of {expected.get(name, 'missing')}, one of "
            f"{len(wrong)} such arrays. Convert or download the model again"
        )


def _describe(dtype: str, shape: Iterable[int]) -> str:
    # Weights can be saved in any precision, and are converted when they are loaded.
    is_float = dtype in ("F64", "F32", "F16", "BF16")
    return f"{'float' if is_float else dtype} {list(shape)}"


def check_loaded(source: object, info: Mapping[str, Any]) -> None:
    """Check that all weights were loaded, also where they are not from a file.

    source (object): the folder or repository, for the error message.
    info (Mapping[str, Any]): what `from_pretrained` reports.
    RAISES (ModelError): if weights were missing, had another shape, or were not used.
    """
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    wrong = {kind: sorted(map(str, info[kind])) for kind in kinds if info.get(kind)}
    if wrong:
        raise ModelError(
            f"{source}: the weights do not match the network in config.json: {wrong}. Convert or "
            "download the model again"
        )


def check_weights(files: Iterable[Path], checksums: Mapping[str, Any]) -> None:
    """Compare the content of the files with its checksum.

    files (Iterable[Path]): the safetensors files.
    checksums (Mapping[str, Any]): the checksums of the config.
    RAISES (ModelError): if the content has changed.
    """
    if "weights" in checksums:
        advice = "If it was changed on purpose, remove 'checksums' from config.json"
        check(checksums["weights"], checksum_weights(files), "the content of the weights", advice)


def checksum_weights(files: Iterable[Path]) -> str:
    """Compute a checksum of the weights. It does not depend on their distribution to files.

    files (Iterable[Path]): the safetensors files.
    RETURNS (str): the checksum.
    """
    found: dict[str, np.ndarray] = {}
    for file in files:
        with safe_open(file, "pt") as arrays:
            names = arrays.keys()
            for name in names:
                tensor = arrays.get_tensor(name)
                # NumPy has no bfloat16.
                half = tensor.dtype == torch.bfloat16
                found[name] = (tensor.view(torch.int16) if half else tensor).numpy()
    return checksum_arrays(found)
