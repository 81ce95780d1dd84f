import numpy as np
import pytest
import torch
from samples import build, train
from spacy.util import registry

from bigru_tagger.adapter.optimizers import SGD
from bigru_tagger.adapter.shim import NetworkShim
from bigru_tagger.network.network import Network, NetworkSpec

GRADIENTS = [4.0, -1.0, 2.0]


def follow(optimizer):
    """The bias of a network, 1 at first, after each of three steps."""
    network = Network(NetworkSpec({"x": {"kind": "dense", "width": 1}}, [], n_tags=1))
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
    network = Network(NetworkSpec({"x": {"kind": "dense", "width": 1}}, [], n_tags=1))
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


def test_a_pipeline_learns_by_a_config():
    config = {"@optimizers": "bigru_tagger.SGD.v1", "learn_rate": 0.5, "use_averages": False}
    nlp = build("bigru_tagger")
    assert train(nlp, steps=80, sgd=registry.resolve({"o": config})["o"])["bigru_tagger"] < 0.02
