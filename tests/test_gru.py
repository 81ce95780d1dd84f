"""Our own recurrence and its gradient, against torch's and against finite differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from bigru_tagger.encoder import Layout
from bigru_tagger.gru import run_gru

CPU = torch.device("cpu")


def make_directions(n_directions=2, width=3, units=2, dtype=torch.float64):
    torch.manual_seed(0)
    directions = [nn.GRU(width, units).to(dtype) for _ in range(n_directions)]
    for rnn in directions:
        for parameter in rnn.parameters():
            nn.init.normal_(parameter, std=0.7)
    return directions


def make_input(lengths, width=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(lengths))
    return torch.randn(sum(lengths), width, generator=generator, dtype=dtype)


def orders_of(lengths, n_directions=2):
    layout = Layout(lengths, CPU)
    packs = [layout.pack(backward=bool(i)) for i in range(n_directions)]
    return [order for order, _, _ in packs], packs[0][2]


def gradients(states, directions, vectors):
    # Weighted, so that no two outputs are interchangeable.
    weights = torch.arange(states[0].numel(), dtype=states[0].dtype).view_as(states[0]) + 1.0
    sum((state * weights).sum() for state in states).backward()
    found = [
        vectors.grad.clone(),
        *(p.grad.clone() for rnn in directions for p in rnn.parameters()),
    ]
    vectors.grad = None
    for rnn in directions:
        rnn.zero_grad()
    return found


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    n_directions=st.integers(1, 2),
)
def test_states_and_gradients_are_those_of_torch(lengths, n_directions):
    directions = make_directions(n_directions)
    vectors = make_input(lengths).requires_grad_()
    orders, counts = orders_of(lengths, n_directions)
    ours = run_gru(directions, vectors, orders, counts)
    torchs = [
        rnn(PackedSequence(vectors[order], counts))[0].data
        for rnn, order in zip(directions, orders, strict=True)
    ]
    torch.testing.assert_close(ours, torchs)
    torch.testing.assert_close(
        gradients(ours, directions, vectors), gradients(torchs, directions, vectors)
    )


def test_gradient_is_that_of_finite_differences():
    lengths = [3, 1, 2]
    directions = make_directions()
    orders, counts = orders_of(lengths)

    def states(vectors, *parameters):
        return tuple(run_gru(directions, vectors, orders, counts))

    parameters = [p for rnn in directions for p in rnn.parameters()]
    inputs = (make_input(lengths).requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(states, inputs)


def test_mixed_precision_keeps_the_recurrence_in_float32():
    lengths = [5, 3]
    directions = make_directions(dtype=torch.float32)
    vectors = make_input(lengths, dtype=torch.float32)
    orders, counts = orders_of(lengths)
    exact = run_gru(directions, vectors, orders, counts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = run_gru(directions, vectors, orders, counts)
    for ours, expected in zip(mixed, exact, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_prediction_gives_the_states_of_training(mode):
    lengths = [4, 6]
    directions = make_directions()
    vectors = make_input(lengths)
    orders, counts = orders_of(lengths)
    trained = run_gru(directions, vectors, orders, counts)
    with mode():
        predicted = run_gru(directions, vectors, orders, counts)
    torch.testing.assert_close(predicted, trained, atol=0, rtol=0)
