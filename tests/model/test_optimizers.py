import numpy as np
import pytest
import spacy
import torch
from samples import build, train
from spacy.util import registry

from bigru_tagger.model.optimizers import SGD
from bigru_tagger.model.shim import NetworkShim
from bigru_tagger.network.network import Network
from bigru_tagger.runtime.spec import NetworkSpec

GRADIENTS = [4.0, -1.0, 2.0]


def follow(optimizer):
    """The bias of a network, 1 at first, after each of three steps."""
    network = Network(NetworkSpec({"x": {"kind": "tok2vec", "width": 1}}, [], n_tags=1))
    torch.nn.init.ones_(network.linear.bias)
    shim, biases = NetworkShim(network), []
    for gradient in GRADIENTS:
        network.linear.bias.grad = torch.tensor([gradient])
        shim.finish_update(optimizer)
        optimizer.step_schedules()
        biases.append(network.linear.bias.item())
    return biases


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # v is 4, then 0.5 * 4 - 1 = 1, then 0.5 * 1 + 2 = 2.5.
        ({}, [1 - 0.4, 0.6 - 0.1, 0.5 - 0.25]),
        ({"momentum": 0.0}, [1 - 0.4, 0.6 + 0.1, 0.7 - 0.2]),
        ({"learn_rate": [0.1, 0.2, 0.4]}, [1 - 0.4, 0.6 - 0.2, 0.4 - 1.0]),
        ({"grad_clip": 1.0}, [1 - 0.1, 0.9 + 0.05, 0.95 - 0.075]),  # v is 1, -0.5, 0.75
        # Decay on its own: the bias shrinks by 1 - 0.1 * 0.5, and v is as above.
        ({"L2": 0.5}, [0.95 - 0.4, 0.55 * 0.95 - 0.1, 0.4225 * 0.95 - 0.25]),
        # In the gradient: v is 4 + 0.5, then 2.25 - 1 + 0.275, then 0.7625 + 2 + 0.19875.
        ({"L2": 0.5, "L2_is_weight_decay": False}, [1 - 0.45, 0.55 - 0.1525, 0.3975 - 0.296125]),
    ],
    ids=str,
)
def test_three_steps_worked_out(settings, expected):
    defaults = {"learn_rate": 0.1, "momentum": 0.5, "grad_clip": 0.0}
    assert follow(SGD(**{**defaults, **settings})) == pytest.approx(expected)


def test_decay_leaves_parameters_without_gradient_alone():
    network = Network(NetworkSpec({"x": {"kind": "tok2vec", "width": 1}}, [], n_tags=1))
    weight = network.linear.weight.item()
    network.linear.bias.grad = torch.tensor([1.0])
    NetworkShim(network).finish_update(SGD(0.1, L2=0.5))
    assert network.linear.weight.item() == weight


def test_thincs_own_parameters_take_plain_steps():
    optimizer = SGD(0.1, momentum=0.5, grad_clip=0.0)
    weights, found = np.ones(1, dtype="float32"), []
    for gradient in GRADIENTS:
        weights, _ = optimizer((0, "W"), weights, np.array([gradient], dtype="float32"))
        found.append(float(weights[0]))
    assert found == pytest.approx([1 - 0.4, 0.6 + 0.1, 0.7 - 0.2])


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_a_momentum_that_cannot_be_is_refused(momentum):
    with pytest.raises(ValueError, match=f"at least 0 and below 1; got {momentum}"):
        SGD(0.1, momentum=momentum)


def scheduled(schedule, **settings):
    return registry.resolve({"o": {"@optimizers": "Adam.v1", "learn_rate": schedule, **settings}})[
        "o"
    ]


def update(optimizer, n_updates, *, n_shims=1, step=False):
    """Update networks, as many as a pipeline has trained components."""
    shims = [
        NetworkShim(Network(NetworkSpec({"x": {"kind": "tok2vec", "width": 1}}, [], n_tags=1)))
        for _ in range(n_shims)
    ]
    for _ in range(n_updates):
        for shim in shims:
            shim.network.linear.bias.grad = torch.tensor([1.0])
            shim.finish_update(optimizer)
        if step:
            optimizer.step_schedules()


WARMUP = {
    "@schedules": "warmup_linear.v1",
    "initial_rate": 0.1,
    "warmup_steps": 2,
    "total_steps": 4,
}
SLANTED = {"@schedules": "slanted_triangular.v1", "max_rate": 0.32, "num_steps": 100}
CONSTANT = {"@schedules": "constant.v1", "rate": 0.1}


@pytest.mark.parametrize("optimizer", ["Adam.v1", "RAdam.v1", "SGD.v1", "bigru_tagger.SGD.v1"])
@pytest.mark.parametrize(
    ("schedule", "n_silent", "rate"),
    # Slanted: the first of 10 steps up, 0.32 * (1 + 0.1 * 31) / 32.
    [(WARMUP, 1, "0 for 2 updates, which had no effect"), (SLANTED, 19, "0.041 for 20 updates")],
    ids=["warmup", "slanted"],
)
@pytest.mark.parametrize("n_shims", [1, 3])
def test_a_schedule_that_is_never_stepped_is_reported(optimizer, schedule, n_silent, rate, n_shims):
    optimizer = scheduled(schedule, **{"@optimizers": optimizer})
    update(optimizer, n_silent, n_shims=n_shims)
    expected = rf"learn rate has been {rate}.*optimizer\.step_schedules\(\)"
    with pytest.warns(UserWarning, match=expected) as caught:
        update(optimizer, 40, n_shims=n_shims)
    assert len(caught) == 1
    # Looking ahead skips no rate: WARMUP continues with 0.05.
    optimizer.step_schedules()
    following = {"warmup_linear.v1": 0.05, "slanted_triangular.v1": 0.32 * (1 + 0.2 * 31) / 32}
    assert optimizer.learn_rate == pytest.approx(following[schedule["@schedules"]])


@pytest.mark.parametrize("schedule", [WARMUP, SLANTED, CONSTANT], ids=lambda s: s["@schedules"])
def test_a_schedule_that_is_stepped_gives_no_warning(schedule):
    optimizer = scheduled(schedule)
    update(optimizer, 60, n_shims=2, step=True)
    expected = registry.resolve({"s": schedule})["s"]
    assert optimizer.learn_rate == pytest.approx([next(expected) for _ in range(61)][-1])


@pytest.mark.parametrize("rate", [0.1, 0.0, CONSTANT], ids=str)
def test_a_learn_rate_that_never_changes_needs_no_steps(rate):
    update(scheduled(rate), 60)


def test_resuming_a_pipeline_of_a_config_learns_once_its_schedule_is_stepped(tmp_path):
    nlp = build("bigru_tagger")
    nlp.config["training"]["optimizer"] = {
        "@optimizers": "Adam.v1",
        "learn_rate": {**WARMUP, "warmup_steps": 5, "total_steps": 100},
    }
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    optimizer = nlp.resume_training()
    with pytest.warns(UserWarning, match="The learn rate has been 0 for 2 updates"):
        stuck = train(nlp, steps=5, sgd=optimizer)["bigru_tagger"]
    for _ in range(60):
        losses = train(nlp, steps=1, sgd=optimizer)
        optimizer.step_schedules()
    assert losses["bigru_tagger"] < 0.1 * stuck


def test_a_pipeline_learns_by_a_config():
    config = {"@optimizers": "bigru_tagger.SGD.v1", "learn_rate": 0.5, "use_averages": False}
    nlp = build("bigru_tagger")
    assert train(nlp, steps=80, sgd=registry.resolve({"o": config})["o"])["bigru_tagger"] < 0.02
