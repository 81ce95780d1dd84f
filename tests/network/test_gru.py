"""Our own recurrence and its gradient, against torch's, a plain loop, and finite differences."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from bigru_tagger.network import gru
from bigru_tagger.network.gru import Recurrence, SharedInput, predict_gru, project_inputs, run_gru
from bigru_tagger.network.layout import Layout

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


def make_masks(lengths, n_directions=2, units=2, rate=0.4):
    """Masks in the order of the first time step, where empty sequences have none."""
    generator = torch.Generator().manual_seed(len(lengths))
    keep = torch.full((n_directions, sum(map(bool, lengths)), units), 1 - rate).double()
    return torch.bernoulli(keep, generator=generator) / (1 - rate)


def loop(rnn, sequence, mask):
    """The equations for one sequence, step by step, under autograd."""
    own = dict(rnn.named_parameters())
    h, states = sequence.new_zeros(rnn.hidden_size), []
    for x in sequence:
        i = own["weight_ih_l0"] @ x + own["bias_ih_l0"]
        (ir, iz, i_n), (hr, hz, hn) = (
            vector.view(3, -1)
            for vector in (i, own["weight_hh_l0"] @ (mask * h) + own["bias_hh_l0"])
        )
        r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
        h = (1 - z) * torch.tanh(i_n + r * hn) + z * h
        states.append(h)
    return states


def loop_packed(directions, vectors, lengths, masks):
    """`loop` over all sequences and directions, put in the order of `run_gru`."""
    longest_first = sorted((row for row, n in enumerate(lengths) if n), key=lambda i: -lengths[i])
    results = []
    for backward, (rnn, direction_masks) in enumerate(zip(directions, masks, strict=True)):
        states = []
        for row, mask in zip(longest_first, direction_masks, strict=True):
            sequence = vectors.split(lengths)[row]
            states.append(loop(rnn, sequence.flip(0) if backward else sequence, mask))
        steps = itertools.zip_longest(*states)
        results.append(torch.stack([h for step in steps for h in step if h is not None]))
    return results


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


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=4).filter(any),
    n_directions=st.integers(1, 2),
    rate=st.sampled_from([0.2, 0.5, 0.9]),
)
def test_masked_states_and_gradients_are_those_of_a_loop_over_time(lengths, n_directions, rate):
    directions = make_directions(n_directions)
    vectors = make_input(lengths).requires_grad_()
    masks = make_masks(lengths, n_directions, rate=rate)
    ours = run_gru(directions, vectors, *orders_of(lengths, n_directions), masks)
    expected = loop_packed(directions, vectors, lengths, masks)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        gradients(ours, directions, vectors), gradients(expected, directions, vectors)
    )


def test_masked_gradient_is_that_of_finite_differences():
    lengths = [3, 1, 2]
    directions = make_directions()
    orders, counts = orders_of(lengths)
    masks = make_masks(lengths)
    assert 0 < masks.count_nonzero() < masks.numel()

    def states(vectors, *parameters):
        return tuple(run_gru(directions, vectors, orders, counts, masks))

    parameters = [p for rnn in directions for p in rnn.parameters()]
    inputs = (make_input(lengths).requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(states, inputs)


def test_masks_of_ones_change_nothing():
    lengths = [4, 6, 1]
    directions = make_directions()
    vectors = make_input(lengths).requires_grad_()
    results = []
    for masks in (None, torch.ones(2, 3, 2).double()):
        states = run_gru(directions, vectors, *orders_of(lengths), masks)
        results.append([*states, *gradients(states, directions, vectors)])
    torch.testing.assert_close(*results, atol=1e-14, rtol=0)


def test_parameters_are_trained_without_a_gradient_of_the_input():
    lengths = [4, 6]
    directions = make_directions()
    vectors = make_input(lengths).requires_grad_()
    _, *expected = gradients(run_gru(directions, vectors, *orders_of(lengths)), directions, vectors)
    states = run_gru(directions, vectors.detach(), *orders_of(lengths))
    vectors.grad = torch.zeros_like(vectors)
    _, *found = gradients(states, directions, vectors)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


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


def predict(directions, vectors, lengths, n_shared=0):
    """Predict with the first columns shared, each by two tokens, in states by token."""
    backward = [bool(i) for i in range(len(directions))]
    lengths = np.array(lengths, dtype=np.int64)
    shared = None
    if n_shared:
        rows = project_inputs(directions, vectors[:, :n_shared]).detach()
        # In another order than the tokens'.
        shared = SharedInput(rows.flip(0), torch.arange(len(vectors)).flip(0), is_prepared=True)
    with torch.no_grad():
        recurrence = Recurrence.of(directions, vectors.dtype)
        return predict_gru(directions, backward, lengths, vectors[:, n_shared:], recurrence, shared)


def train(directions, vectors, lengths):
    """Run the directions as training does, with states by token."""
    layout = Layout(lengths, CPU)
    packs = [layout.pack(backward=bool(i)) for i in range(len(directions))]
    states = run_gru(directions, vectors, [order for order, _, _ in packs], packs[0][2])
    return torch.cat([s[place] for s, (_, place, _) in zip(states, packs, strict=True)], 1)


@pytest.mark.parametrize("n_shared", [0, 2, 3])
@pytest.mark.parametrize("n_directions", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    units=st.integers(1, 40),
)
def test_prediction_gives_the_states_of_training_and_leaves_its_input(
    dtype, n_directions, n_shared, lengths, units
):
    directions = make_directions(n_directions, units=units, dtype=dtype)
    vectors = make_input(lengths, dtype=dtype)
    before = vectors.clone()
    predicted = predict(directions, vectors, lengths, n_shared)
    trained = train(directions, vectors, lengths).detach()
    assert torch.equal(vectors, before)
    assert predicted.dtype == dtype
    torch.testing.assert_close(predicted, trained)


@pytest.mark.parametrize(("rows", "block"), [(1, 1), (1, 100), (3, 1), (3, 7), (100, 5)])
def test_prediction_does_not_depend_on_the_sequences_that_run_in_parallel(rows, block, monkeypatch):
    lengths = [4, 0, 9, 1, 1, 9, 30, 2, 4]
    directions, vectors = make_directions(), make_input(lengths)
    expected = predict(directions, vectors, lengths, 2)
    monkeypatch.setattr(gru, "_ROWS", rows)
    monkeypatch.setattr(gru, "_BLOCK", block)
    torch.testing.assert_close(predict(directions, vectors, lengths, 2), expected)
    inputs = [len(tokens[0]) for tokens, _, _ in gru._blocks(np.array(lengths), [False, True])]
    assert sum(inputs) == sum(lengths)
    assert max(inputs) < block + rows


def test_no_tokens_have_no_states():
    assert predict(make_directions(), torch.zeros(0, 3, dtype=torch.float64), [0, 0]).shape == (
        0,
        4,
    )


@pytest.mark.parametrize("value", [-100.0, -1.0, 0.0, 1e-4, 0.3, 20.0])
def test_the_candidate_is_a_hyperbolic_tangent(value):
    """With gates of r = z = 1/2 and no state before, h = tanh(W_n x) / 2."""
    rnn = nn.GRU(1, 1)
    for parameter in rnn.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        rnn.weight_ih_l0[2] = 1.0
    state = predict([rnn], torch.tensor([[value]]), [1])
    assert state.item() == pytest.approx(math.tanh(value) / 2, abs=1e-7)
