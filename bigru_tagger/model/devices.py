"""Devices, precision, conversion between thinc arrays and tensors, threads of worker processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import get_spawning_popen
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from thinc.api import CupyOps, Ops, get_array_module, get_torch_default_device, torch2xp, xp2torch
from thinc.types import Floats2d, FloatsXd
from torch import Tensor

Precision = Literal["float32", "bfloat16", "auto"]

# The process that torch's threads belong to. A forked process does not have these threads.
_process = os.getpid()


def use_one_thread_if_forked() -> None:
    """Set torch to one thread, if this process was forked since the last call.

    A process that is forked from one with several torch threads hangs at its first parallel region.
    This is called when our components run, not at the fork, so other forked processes are not
    affected.
    """
    global _process  # noqa: PLW0603 - one value per process
    if _process != os.getpid():
        _process = os.getpid()
        torch.set_num_threads(1)


def is_pickled_for_worker() -> bool:
    """Check whether objects are being pickled for a new process.

    RETURNS (bool): True during `Process.start` with spawn or forkserver, as in
        `nlp.pipe(n_process=2)`.
    """
    return get_spawning_popen() is not None


def use_one_thread_in_worker() -> None:
    """Set torch to one thread, unless OMP_NUM_THREADS is set.

    Otherwise each spawned worker, as on macOS and Windows, would use all cores.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def choose_device(name: str | None) -> torch.device:
    """Return the torch device for the setting `device`.

    name (str | None): a torch device such as "cpu" or "cuda:1"; "auto" for a GPU if there is one;
        None for spaCy's setting (`--gpu-id`, `spacy.require_gpu`).
    RETURNS (torch.device): the device.
    RAISES (ValueError): if it is not a torch device, or there is no CUDA device.
    """
    if name is None:
        default: torch.device = get_torch_default_device()
        return default
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device = {name!r} is not a torch device: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device = {name!r}, but torch {torch.__version__} finds no CUDA device here. Set "
            "device = null (or override it when loading), or install torch for your CUDA version"
        )
    return device


def use_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Check whether prediction computes matrix products in bfloat16.

    precision (str): "float32", "bfloat16", or "auto" for bfloat16 if the device has instructions
        for it. On other devices, bfloat16 is slower than float32.
    device (torch.device): the device of the network.
    RETURNS (bool): whether it does.
    RAISES (ValueError): if the precision is not one of these.
    """
    if precision not in get_args(Precision):
        raise ValueError(
            f"'predict_precision' must be one of {list(get_args(Precision))}; got {precision!r}"
        )
    if precision == "auto":
        if device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return bool(torch.cpu._is_avx512_bf16_supported())
    return precision == "bfloat16"


@contextmanager
def recurrent_precision(device: torch.device, *, allow_tf32: bool) -> Iterator[None]:
    """Prevent cuDNN's recurrent layers from rounding to TF32 within the context.

    torch allows it by default. States then differ from those on a CPU by about 1e-3. The setting of
    the process is restored on exit.

    device (torch.device): the device of the network. Only CUDA devices are affected.
    allow_tf32 (bool): do not change torch's setting. TF32 is faster for wide layers.
    """
    if device.type != "cuda" or allow_tf32:
        yield
        return
    cudnn: Any = torch.backends.cudnn
    flags, name, exact = (
        (cudnn.rnn, "fp32_precision", "ieee")
        if hasattr(cudnn, "rnn")  # torch 2.9 and later, which rejects a mix of old and new flags
        else (cudnn, "allow_tf32", False)
    )
    before = getattr(flags, name)
    setattr(flags, name, exact)
    try:
        yield
    finally:
        setattr(flags, name, before)


def to_torch(array: Any, device: torch.device) -> Tensor:
    """Convert an array to a tensor, without a copy if memory can be shared.

    array (ndarray | Tensor): a NumPy or CuPy array, or a tensor.
    device (torch.device): device of the tensor.
    RETURNS (Tensor): the tensor.
    """
    use_one_thread_if_forked()
    if isinstance(array, Tensor):
        return array.to(device)
    tensor: Tensor = xp2torch(array, device=device)
    return tensor


def to_array(tensor: Tensor, ops: Ops) -> FloatsXd:
    """Convert a tensor to a NumPy or CuPy array.

    tensor (Tensor): a tensor on any device.
    ops (Ops): thinc's operations, which determine the type of the array.
    RETURNS (FloatsXd): the array, float32.
    """
    tensor = tensor.detach().float()
    if not isinstance(ops, CupyOps):
        tensor = tensor.cpu()
    return cast(FloatsXd, torch2xp(tensor, ops=ops))


def join_arrays(arrays: list[Floats2d], device: torch.device, width: int) -> Tensor:
    """Concatenate arrays to a tensor.

    arrays (list[Floats2d]): NumPy or CuPy arrays, (n_rows, width) each.
    device (torch.device): device of the tensor.
    width (int): width of the result if there are no arrays.
    RETURNS (Tensor): all rows, float32 (n_rows, width).
    """
    if not arrays:
        return torch.zeros((0, width), device=device)
    xp = get_array_module(arrays[0])
    return to_torch(xp.concatenate(arrays).astype("float32"), device)


def split_array(array: FloatsXd, lengths: list[int]) -> list[Floats2d]:
    """Split an array into parts, the inverse of `join_arrays`.

    array (FloatsXd): all rows, (n_rows, width).
    lengths (list[int]): number of rows of each part.
    RETURNS (list[Floats2d]): the parts.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    return [
        cast(Floats2d, array[end - length : end]) for end, length in zip(ends, lengths, strict=True)
    ]
