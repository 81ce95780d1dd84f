"""The state of a training, stored and restored in another pipeline."""

import random

import numpy as np
import pytest
import torch
from samples import build, read_examples
from thinc.api import Adam, PyTorchWrapper, RAdam, fix_random_seed, warmup_linear

from bigru_tagger.model.optimizers import SGD
from bigru_tagger.model.training_state import (
    cannot_be_stored,
    find_optimizer,
    pack_state,
    read_progress,
    restore_state,
)

OPTIMIZERS = [
    lambda: Adam(warmup_linear(0.01, 2, 20)),
    lambda: RAdam(0.01, use_averages=False),
    lambda: SGD(warmup_linear(0.1, 2, 20)),
]


def steps(nlp, optimizer, n):
    for _ in range(n):
        nlp.update(read_examples(nlp.vocab), sgd=optimizer, drop=0.3)
        optimizer.step_schedules()


def models(nlp):
    return {name: pipe.model for name, pipe in nlp.pipeline}


def results(nlp, optimizer):
    with nlp.use_params(optimizer.averages):
        averaged = nlp.to_bytes(exclude=["tokenizer"])
    return nlp.to_bytes(exclude=["tokenizer"]), averaged


@pytest.mark.parametrize("make", OPTIMIZERS, ids=["adam", "radam", "sgd"])
def test_a_restored_training_takes_the_same_steps(make, tmp_path):
    nlp, optimizer = build("bigru_ner"), make()
    steps(nlp, optimizer, 4)
    file = tmp_path / "state.safetensors"
    file.write_bytes(pack_state(models(nlp), optimizer, {"step": 3}))
    steps(nlp, optimizer, 5)
    expected = results(nlp, optimizer)

    other, optimizer = build("bigru_ner", seed=1), make()
    fix_random_seed(1)
    for _ in range(4):
        optimizer.step_schedules()
    assert read_progress(file) == {"step": 3}
    restore_state(file, models(other), optimizer)
    steps(other, optimizer, 5)
    assert results(other, optimizer) == expected


@pytest.mark.parametrize("make", OPTIMIZERS, ids=["adam", "radam", "sgd"])
def test_restored_moments_have_the_layout_of_the_parameters(make, tmp_path):
    # One parameter is empty: without vectors, there is no vector of unknown words.
    model = {"hidden": [4], "word_dropout": 0.0}
    nlp, optimizer = build("bigru_ner", model=model), make()
    steps(nlp, optimizer, 1)
    file = tmp_path / "state.safetensors"
    file.write_bytes(pack_state(models(nlp), optimizer, None))
    restore_state(file, models(nlp), optimizer)
    (shim,) = nlp.get_pipe("bigru_ner").model.shims
    state = shim.trainer._optimizer.state
    assert {0} < {parameter.numel() for parameter in state}
    for parameter, values in state.items():
        moments = [value for name, value in values.items() if name != "step"]
        assert moments
        for value in moments:
            assert (value.shape, value.stride()) == (parameter.shape, parameter.stride())


def test_random_numbers_go_on(tmp_path):
    nlp, optimizer = build("bigru_ner"), Adam(0.01)
    steps(nlp, optimizer, 1)
    file = tmp_path / "state.safetensors"
    file.write_bytes(pack_state(models(nlp), optimizer, None))

    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    expected = draw()
    assert draw() != expected
    restore_state(file, models(nlp), optimizer)
    assert draw() == expected


def test_the_optimizer_is_found():
    nlp, optimizer = build("bigru_ner"), Adam(0.01)
    assert find_optimizer(models(nlp)) is None
    steps(nlp, optimizer, 1)
    assert find_optimizer(models(nlp)) is optimizer


def test_models_whose_state_is_unknown():
    ner = models(build("bigru_ner"))
    assert cannot_be_stored(ner) == ""
    other = PyTorchWrapper(torch.nn.Linear(2, 2))
    assert cannot_be_stored({**ner, "other": other}) == (
        "other has a PyTorchShim, whose state is unknown"
    )
    assert cannot_be_stored({}) == "no component of bigru-tagger is trained"


def test_the_rate_of_a_transformer_is_that_of_its_first_step(tmp_path):
    # With a learn rate of its own, the transformer's is scaled by the highest of those to come,
    # which later in a schedule is lower.
    nlp, optimizer = build("bigru_ner"), Adam(0.01)
    steps(nlp, optimizer, 1)
    (shim,) = nlp.get_pipe("bigru_ner").model.shims
    shim.trainer._optimizer.param_groups[0]["rate_scale"] = 0.25
    file = tmp_path / "state.safetensors"
    file.write_bytes(pack_state(models(nlp), optimizer, None))
    shim.trainer.reset_optimizer()
    restore_state(file, models(nlp), optimizer)
    assert shim.trainer.state()["param_groups"][0]["rate_scale"] == 0.25


def test_a_damaged_file(tmp_path):
    file = tmp_path / "state.safetensors"
    file.write_bytes(b"not a state")
    with pytest.raises(ValueError, match=r"state\.safetensors is damaged"):
        read_progress(file)
