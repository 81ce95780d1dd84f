import importlib
import importlib.util
import multiprocessing
import os

import pytest
import torch
from samples import TINY, build

import bigru_tagger.adapter.devices
from bigru_tagger.adapter.devices import choose_device, use_bfloat16


def test_choose_device():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device(None).type in ("cpu", "cuda")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["nonsense", "", "cpu:x", "gpu"])
def test_a_device_that_torch_does_not_know_is_an_error(name):
    with pytest.raises(ValueError, match="none that torch knows"):
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
    with pytest.raises(ValueError, match=r"'predict_precision' has to be one of .* got 'float16'"):
        use_bfloat16("float16", torch.device("cpu"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_one_torch_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply(torch.get_num_threads) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("told", "expected"), [(None, 1), ("2", 2)])
def test_a_worker_that_is_started_afresh_has_the_threads_it_is_told(told, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, importlib.import_module, ("bigru_tagger.adapter.devices",)) as pool:
        assert pool.apply(torch.get_num_threads) == expected


def test_the_module_imports_where_there_is_no_fork(monkeypatch):
    monkeypatch.delattr(os, "register_at_fork", raising=False)  # as on Windows
    path = bigru_tagger.adapter.devices.__file__
    spec = importlib.util.spec_from_file_location("bigru_tagger.devices_without_fork", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
