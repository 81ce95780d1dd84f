"""Devices, precision, conversion between arrays and tensors, threads of worker processes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.context import get_spawning_popen
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from thinc.api import CupyOps, MPSOps, Ops, get_array_module, get_current_ops, torch2xp, xp2torch
from thinc.types import Floats2d, FloatsXd
from threadpoolctl import ThreadpoolController

from ..decoding.transitions import Array, to_numpy
from ..errors import ConfigError, DeviceError
from ..extras import require

if TYPE_CHECKING:
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
        torch = sys.modules.get("torch")
        if torch is not None:
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
    torch = sys.modules.get("torch")
    if torch is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


class _BlasThreads:
    # The number of threads of NumPy's matrix products in this process.

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_users = 0
        self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        self._before: list[int] = []

    def limit(self) -> None:
        with self._lock:
            if not self._n_users:
                self._before = [library.get_num_threads() for library in self._libraries]
                self._set([_n_threads or 1] * len(self._libraries))
            self._n_users += 1

    def restore(self) -> None:
        with self._lock:
            self._n_users -= 1
            if not self._n_users:
                self._set(self._before)

    def _set(self, n_threads: list[int]) -> None:
        for library, n in zip(self._libraries, n_threads, strict=True):
            # threadpoolctl 3.8 ignores calls from other threads than the first, while that lives.
            release = getattr(library, "clear_controlling_thread", None)
            if release is not None:
                release(force=True)
            library.set_num_threads(n)
            if release is not None:
                release(force=True)


# The number of threads of NumPy and PyTorch by `use_threads`.
_n_threads: int | None = None


@contextmanager
def use_threads(n_threads: int | None) -> Iterator[None]:
    """Set the number of threads of prediction within the context, for all threads of the process.

    n_threads (int | None): the number of threads of NumPy's matrix products and of torch; None
        leaves them as they are.
    """
    global _n_threads  # noqa: PLW0603 - one value per process
    torch = sys.modules.get("torch")
    if n_threads is None:
        yield
        return
    before = _n_threads, torch and torch.get_num_threads()
    _n_threads = n_threads
    if torch is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        _n_threads = before[0]
        if torch is not None:
            torch.set_num_threads(before[1])


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_blas_threads: dict[int, _BlasThreads] = {}


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Use one thread for NumPy's matrix products within the context.

    The products of a tagger are small. With more threads, they gain little on an idle machine, and
    wait for each other on a busy one. `use_threads` sets another number, and so do the environment
    variables OMP_NUM_THREADS and OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS). The setting of the
    process is restored on exit, when no other thread is in the context.
    """
    if _n_threads is None and any(name in os.environ for name in _THREAD_VARIABLES):
        yield
        return
    # Each process has its own lock: one that another thread held during a fork is never released.
    threads = _blas_threads.get(os.getpid())
    if threads is None:
        threads = _blas_threads.setdefault(os.getpid(), _BlasThreads())
    threads.limit()
    try:
        yield
    finally:
        threads.restore()


def choose_device(name: str | None) -> str:
    """Return the name of the device for the setting `device`.

    name (str | None): a torch device such as "cpu" or "cuda:1"; "auto" for a GPU if there is one;
        None for spaCy's setting (`--gpu-id`, `spacy.require_gpu`).
    RETURNS (str): the name of a torch device.
    RAISES (ValueError): if it is not a torch device, or there is no CUDA device.
    """
    if name is None:
        ops = get_current_ops()
        if isinstance(ops, CupyOps):
            return f"cuda:{require('torch', 'a GPU').cuda.current_device()}"
        return "mps" if isinstance(ops, MPSOps) else "cpu"
    if name == "cpu" or (name == "auto" and find_spec("torch") is None):
        return "cpu"
    torch = require("torch", f"device = {name!r}")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device = {name!r} is not a torch device: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device = {name!r}, but torch {torch.__version__} finds no CUDA device here. Set "
            "device = null (or override it when loading), or install torch for your CUDA version"
        )
    return name


def type_of(device: str) -> str:
    """Return the type of a device.

    device (str): the name of a torch device, such as "cuda:1".
    RETURNS (str): its type, such as "cuda".
    """
    return device.partition(":")[0]


def use_bfloat16(precision: Precision, device: str) -> bool:
    """Check whether prediction computes matrix products in bfloat16.

    precision (str): "float32", "bfloat16", or "auto" for bfloat16 if the device has instructions
        for it. On other devices, bfloat16 is slower than float32.
    device (str): the device of the network.
    RETURNS (bool): whether it does.
    RAISES (ValueError): if the precision is not one of these. (MissingExtraError): for "bfloat16"
        without torch.
    """
    if precision not in get_args(Precision):
        raise ConfigError(
            f"'predict_precision' must be one of {list(get_args(Precision))}; got {precision!r}"
        )
    if precision == "float32" or (precision == "auto" and find_spec("torch") is None):
        return False
    torch = require("torch", f"predict_precision = {precision!r}")
    if precision == "bfloat16":
        return True
    if type_of(device) == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # A private function, which PyTorch 2.4 does not have.
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return check is not None and bool(check())


@contextmanager
def recurrent_precision(device: str, *, allow_tf32: bool) -> Iterator[None]:
    """Prevent cuDNN's recurrent layers from rounding to TF32 within the context.

    torch allows it by default. States then differ from those on a CPU by about 1e-3. The setting of
    the process is restored on exit.

    device (str): the device of the network. Only CUDA devices are affected.
    allow_tf32 (bool): do not change torch's setting. TF32 is faster for wide layers.
    """
    if type_of(device) != "cuda" or allow_tf32:
        yield
        return
    import torch  # noqa: PLC0415 - only on a GPU

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


def to_torch(array: Any, device: str) -> "Tensor":
    """Convert an array to a tensor, without a copy if memory can be shared.

    array (ndarray | Tensor): a NumPy or CuPy array, or a tensor.
    device (str): device of the tensor.
    RETURNS (Tensor): the tensor.
    """
    import torch  # noqa: PLC0415 - tensors are for training, GPUs and bfloat16

    use_one_thread_if_forked()
    if isinstance(array, torch.Tensor):
        return array.to(device)
    tensor: Tensor = xp2torch(array, device=torch.device(device))
    return tensor


def to_host(array: Any) -> np.ndarray:
    """Convert an array to NumPy.

    array (ndarray): a NumPy or CuPy array.
    RETURNS (ndarray): its values.
    """
    return cast(np.ndarray, array.get() if hasattr(array, "get") else array)


def to_array(array: Array, ops: Ops) -> FloatsXd:
    """Convert the output of a network to thinc's array type.

    array (ndarray | Tensor): a NumPy array, or a tensor on any device.
    ops (Ops): thinc's operations, which determine the type of the result.
    RETURNS (FloatsXd): a NumPy or CuPy array, float32.
    """
    if isinstance(array, np.ndarray):
        return cast(FloatsXd, ops.asarray(cast(Any, array)))
    tensor = array.detach().float()
    if not isinstance(ops, CupyOps):
        return cast(FloatsXd, to_numpy(tensor))
    return cast(FloatsXd, torch2xp(tensor, ops=ops))


def join_arrays(arrays: list[Floats2d], width: int) -> np.ndarray:
    """Concatenate arrays.

    arrays (list[Floats2d]): NumPy or CuPy arrays, (n_rows, width) each.
    width (int): width of the result if there are no arrays.
    RETURNS (ndarray): all rows, float32 (n_rows, width), a NumPy or CuPy array.
    """
    if not arrays:
        return np.zeros((0, width), dtype=np.float32)
    xp = get_array_module(arrays[0])
    return cast(np.ndarray, xp.concatenate(arrays).astype("float32", copy=False))


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
