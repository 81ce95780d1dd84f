import multiprocessing
import os

import numpy as np
import pytest
import torch
from samples import TINY, build

from bigru_tagger.model.devices import choose_device, to_torch, use_bfloat16


def test_choose_device():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device(None).type in ("cpu", "cuda")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto") == torch.device(expected)


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
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    cpu = torch.device("cpu")
    assert use_bfloat16("auto", cpu) is supported
    assert use_bfloat16("bfloat16", cpu)
    assert not use_bfloat16("float32", cpu)


def test_another_precision_is_an_error():
    with pytest.raises(ValueError, match=r"'predict_precision' must be one of .* got 'float16'"):
        use_bfloat16("float16", torch.device("cpu"))


def _threads(run=False):
    """Threads of torch in this process, after a component of ours ran there, or before."""
    if run:
        to_torch(np.zeros(1), torch.device("cpu"))
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
