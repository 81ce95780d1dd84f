"""Devices and precision; arrays of thinc to tensors and back; threads of worker processes."""

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

# The process whose threads torch has; a fork has the number, but not the threads.
_process = os.getpid()


def use_one_thread_if_forked() -> None:
    """Run torch on one thread from now on, if this process was forked since the last call.

    A process forked from one that has run torch on several threads hangs at its first parallel
    region. Called where our components begin to run, not at the fork: other programs' children are
    left alone.
    """
    global _process  # noqa: PLW0603 - a fact of the process
    if _process != os.getpid():
        _process = os.getpid()
        torch.set_num_threads(1)


def is_pickled_for_worker() -> bool:
    """Whether this process is starting another one, which gets what is pickled now.

    RETURNS (bool): True within `Process.start` by spawn or forkserver, as of `nlp.pipe(n_process)`.
    """
    return get_spawning_popen() is not None


def use_one_thread_in_worker() -> None:
    """Run torch on one thread from now on, unless the environment names a number of threads.

    Workers that are started afresh, as on macOS and Windows, would otherwise take all cores each.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def choose_device(name: str | None) -> torch.device:
    """Turn the config's `device` into torch's.

    name (str | None): a device of torch, such as "cpu" or "cuda:1"; "auto" for a GPU where
        there is one; None for what spaCy was told (`--gpu-id`, `spacy.require_gpu`).
    RETURNS (torch.device): the device.
    RAISES (ValueError): if torch knows no such device, or cannot use it here.
    """
    if name is None:
        default: torch.device = get_torch_default_device()
        return default
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device = {name!r} is none that torch knows: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device = {name!r}, but torch {torch.__version__} finds no CUDA device here. Set "
            "device = null (or override it when loading), or install torch for your CUDA version"
        )
    return device


def use_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Decide whether prediction multiplies in bfloat16.

    precision (str): "float32", "bfloat16", or "auto" for bfloat16 where the device has
        instructions for it; elsewhere it would be slower than float32.
    device (torch.device): where the network is.
    RETURNS (bool): whether it does.
    RAISES (ValueError): if the precision is none of these.
    """
    if precision not in get_args(Precision):
        raise ValueError(
            f"'predict_precision' has to be one of {list(get_args(Precision))}; got {precision!r}"
        )
    if precision == "auto":
        if device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return bool(torch.cpu._is_avx512_bf16_supported())
    return precision == "bfloat16"


@contextmanager
def recurrent_precision(device: torch.device, *, allow_tf32: bool) -> Iterator[None]:
    """Keep cuDNN's recurrent layers from rounding to TF32 for the length of the context.

    By default, torch lets them: states then differ from a CPU's by about 1e-3. What is set for the
    process is the same again afterwards.

    device (device): where the network is; all but CUDA's are left alone.
    allow_tf32 (bool): leave it to what torch is set to, which is faster for wide layers.
    """
    if device.type != "cuda" or allow_tf32:
        yield
        return
    cudnn: Any = torch.backends.cudnn
    flags, name, exact = (
        (cudnn.rnn, "fp32_precision", "ieee")
        if hasattr(cudnn, "rnn")  # from torch 2.9 on, which refuses a mixture of old and new flags
        else (cudnn, "allow_tf32", False)
    )
    before = getattr(flags, name)
    setattr(flags, name, exact)
    try:
        yield
    finally:
        setattr(flags, name, before)


def to_torch(array: Any, device: torch.device) -> Tensor:
    """Bring an array to torch, without a copy where the memory can be shared.

    array (ndarray): of NumPy or CuPy.
    device (torch.device): where the tensor is needed.
    RETURNS (Tensor): the tensor.
    """
    use_one_thread_if_forked()
    if isinstance(array, Tensor):
        return array.to(device)
    tensor: Tensor = xp2torch(array, device=device)
    return tensor


def to_array(tensor: Tensor, ops: Ops) -> FloatsXd:
    """Bring a tensor to the arrays of thinc's operations, NumPy's or CuPy's.

    tensor (Tensor): on any device.
    ops (Ops): thinc's operations.
    RETURNS (FloatsXd): float32.
    """
    tensor = tensor.detach().float()
    if not isinstance(ops, CupyOps):
        tensor = tensor.cpu()
    return cast(FloatsXd, torch2xp(tensor, ops=ops))


def join_arrays(arrays: list[Floats2d], device: torch.device, width: int) -> Tensor:
    """Put arrays one below the other.

    arrays (list[Floats2d]): of NumPy or CuPy, (n_rows, width) each.
    device (torch.device): where the tensor is needed.
    width (int): for no arrays at all.
    RETURNS (Tensor): all rows, float32.
    """
    if not arrays:
        return torch.zeros((0, width), device=device)
    xp = get_array_module(arrays[0])
    return to_torch(xp.concatenate(arrays).astype("float32"), device)


def split_array(array: FloatsXd, lengths: list[int]) -> list[Floats2d]:
    """Take apart what `join_arrays` put together.

    array (FloatsXd): all rows.
    lengths (list[int]): rows of each part.
    RETURNS (list[Floats2d]): the parts.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    return [
        cast(Floats2d, array[end - length : end]) for end, length in zip(ends, lengths, strict=True)
    ]
