import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from samples import TINY, build
from threadpoolctl import ThreadpoolController

from bigru_tagger.model import devices
from bigru_tagger.model.devices import (
    choose_device,
    one_blas_thread,
    to_torch,
    use_bfloat16,
    use_threads,
)


def test_choose_device():
    assert choose_device("cpu") == "cpu"
    assert choose_device(None) in ("cpu", "cuda:0")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto") == expected


@pytest.mark.parametrize("name", ["nonsense", "", "cpu:x", "gpu"])
def test_a_device_that_torch_does_not_know_is_an_error(name):
    with pytest.raises(ValueError, match="is not a torch device"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_cuda_without_cuda_is_a_clear_error(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=rf"device = '{name}'.*finds no CUDA device.*device = null"
    ):
        build("bigru_ner", model={**TINY, "device": name})


@pytest.mark.parametrize("supported", [True, False])
def test_auto_precision_is_what_the_cpu_multiplies_in(supported, monkeypatch):
    name = "_is_avx512_bf16_supported"
    monkeypatch.setattr(torch.cpu, name, lambda: supported, raising=False)
    cpu = "cpu"
    assert use_bfloat16("auto", cpu) is supported
    assert use_bfloat16("bfloat16", cpu)
    assert not use_bfloat16("float32", cpu)
    monkeypatch.delattr(torch.cpu, name)  # as in PyTorch 2.4
    assert not use_bfloat16("auto", cpu)


def test_another_precision_is_an_error():
    with pytest.raises(ValueError, match=r"'predict_precision' must be one of .* got 'float16'"):
        use_bfloat16("float16", "cpu")


def _threads(run=False):
    """Threads of torch in this process, after a component of ours ran there, or before."""
    if run:
        to_torch(np.zeros(1), "cpu")
    return torch.get_num_threads()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_one_torch_thread_once_a_component_runs_there():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert _threads(run=True) == 2
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert [pool.apply(_threads, (run,)) for run in (False, True, False)] == [2, 1, 1]
            # A number of threads that the child sets later is kept.
            pool.apply(torch.set_num_threads, (2,))
            assert pool.apply(_threads, (True,)) == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def _set_threads(threads, shim):
    if threads is not None:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("env", "chosen", "expected"), [({}, None, 1), ({"OMP_NUM_THREADS": "2"}, None, 2), ({}, 2, 2)]
)
def test_a_worker_that_gets_a_component_has_one_torch_thread_unless_told(
    env, chosen, expected, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    shim = build("bigru_ner").get_pipe("bigru_ner").model.shims[0]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, _set_threads, (chosen, shim)) as pool:
        assert pool.apply(_threads, (True,)) == expected


def test_other_workers_have_the_threads_that_they_choose(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, _set_threads, (2, None)) as pool:
        assert pool.apply(_threads, (True,)) == 2


BLAS_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def blas_threads():
    """The different numbers of threads of the BLAS libraries in this process."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return {library.get_num_threads() for library in libraries}


@pytest.fixture
def two_blas_threads(monkeypatch):
    """Two BLAS threads, and no environment variable that sets them."""
    for name in BLAS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "_blas_threads", {})
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("threadpoolctl does not know the BLAS library of NumPy")
        yield


@pytest.mark.usefixtures("two_blas_threads")
def test_the_number_of_blas_threads_is_restored():
    for _ in range(2):
        with one_blas_thread():
            assert blas_threads() == {1}
            with one_blas_thread():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {2}
    with pytest.raises(ValueError, match="oops"), one_blas_thread():
        raise ValueError("oops")
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_blas_threads")
def test_one_blas_thread_until_the_last_thread_ends():
    first, second = one_blas_thread(), one_blas_thread()
    with ThreadPoolExecutor(1) as pool:
        first.__enter__()
        pool.submit(second.__enter__).result()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        pool.submit(second.__exit__, None, None, None).result()
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_blas_threads")
def test_one_blas_thread_in_many_threads():
    start = threading.Barrier(8)

    def enter_often(_):
        found = set()
        start.wait(60)
        for _ in range(50):
            with one_blas_thread():
                found |= blas_threads()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(enter_often, range(8))) == [{1}] * 8
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("name", BLAS_VARIABLES)
def test_a_variable_sets_the_number_of_blas_threads(name, monkeypatch):
    monkeypatch.setenv(name, "2")
    with one_blas_thread():
        assert blas_threads() == {2}


@pytest.mark.usefixtures("two_blas_threads")
def test_use_threads_sets_numpy_and_torch_for_a_while(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    with use_threads(3):
        assert torch.get_num_threads() == 3
        with use_threads(None), one_blas_thread():
            assert blas_threads() == {3}
    with use_threads(1), one_blas_thread():
        assert blas_threads() == {1}
    assert torch.get_num_threads() == before
    with one_blas_thread():
        assert blas_threads() == {2}


def _blas_threads_within_and_after():
    with one_blas_thread():
        within = blas_threads()
    return within, blas_threads()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("two_blas_threads")
def test_a_forked_child_has_its_own_limit_of_blas_threads():
    context = multiprocessing.get_context("fork")
    with one_blas_thread():
        pass
    # As in another thread, which is about to set the number.
    with devices._blas_threads[os.getpid()]._lock, context.Pool(1) as pool:
        within, after = pool.apply_async(_blas_threads_within_and_after).get(60)
    assert (within, after) == ({1}, {2})
    with one_blas_thread():
        with context.Pool(1) as pool:
            within, after = pool.apply_async(_blas_threads_within_and_after).get(60)
        assert (within, after) == ({1}, {1})  # what it inherited
    assert blas_threads() == {2}
