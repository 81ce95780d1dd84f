import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bigru_tagger.context import OccurrencePooling


def make_pooling(width=3, units=2):
    torch.manual_seed(0)
    pooling = OccurrencePooling(width, units)
    for parameter in pooling.parameters():
        nn.init.normal_(parameter)
    return pooling


def pool_by_hand(pooling, states, groups):
    """Do what the module says, token by token."""
    v, v_bias, w, w_bias = (
        parameter.detach().double().numpy()
        for layer in (pooling.project, pooling.combine)
        for parameter in (layer.weight, layer.bias)
    )
    pooled = []
    for state, group in zip(states, groups, strict=True):
        same = [v @ other + v_bias for other, g in zip(states, groups, strict=True) if g == group]
        mean = np.tanh(sum(same) / len(same))
        pooled.append(np.maximum(w @ np.concatenate([state, mean]) + w_bias, 0.0))
    return pooled


@settings(max_examples=30, deadline=None)
@given(
    tokens=st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3)),
        min_size=1,
        max_size=8,
    )
)
def test_each_token_gets_the_mean_over_its_group(tokens):
    pooling = make_pooling()
    groups, states = [group for group, _ in tokens], [state for _, state in tokens]
    output = pooling(torch.tensor(states), torch.tensor(groups))
    expected = pool_by_hand(pooling, np.array(states), groups)
    np.testing.assert_allclose(output.detach().numpy(), expected, atol=1e-5)


def test_one_unit_by_hand():
    pooling = OccurrencePooling(1, 1)
    pooling.project.load_state_dict({"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])})
    pooling.combine.load_state_dict(
        {"weight": torch.tensor([[1.0, 10.0]]), "bias": torch.tensor([0.5])}
    )
    output = pooling(torch.tensor([[0.1], [0.3], [-9.0]]), torch.tensor([0, 0, 1]))
    # Means of 2h + 1: (1.2 + 1.6) / 2 = 1.4, and -17; tanh 1.4 = 0.885352.
    assert output.flatten().tolist() == pytest.approx([9.453517, 9.653517, 0.0], abs=1e-5)


def test_no_tokens():
    states = torch.zeros(0, 3)
    groups = torch.zeros(0, dtype=torch.int64)
    assert make_pooling()(states, groups, 0.5).shape == (0, 3)


def test_every_occurrence_gets_a_gradient():
    states = torch.randn(4, 3, requires_grad=True)
    make_pooling()(states, torch.tensor([0, 1, 0, 1]))[0].sum().backward()
    assert states.grad.any(1).tolist() == [True, False, True, False]


def test_means_are_not_summed_in_low_precision():
    """A sum of bfloat16 would stop at 256 times its terms."""
    pooling = make_pooling(1, 1)
    states, groups = torch.full((5000, 1), 0.01), torch.zeros(5000, dtype=torch.int64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        many, few = (pooling(states[:n], groups[:n])[0] for n in (5000, 10))
    torch.testing.assert_close(many, few, atol=1e-2, rtol=1e-2)


def test_dropout_zeroes_units_and_scales_the_others_up():
    pooling = make_pooling(4, 50)
    with torch.no_grad():
        pooling.combine.weight[:, 4:] = 0.0  # or what the means lose would change the sums
    states, groups = torch.rand(2000, 4), torch.arange(2000)
    output, dropped = pooling(states, groups), pooling(states, groups, 0.5)
    kept = dropped != 0.0
    torch.testing.assert_close(dropped[kept], 2 * output[kept])
    assert kept[output > 0.0].float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(pooling(states, groups), output)


def test_dropout_of_the_means_is_the_same_for_the_whole_group():
    pooling = make_pooling(1, 50)
    with torch.no_grad():
        pooling.combine.weight.zero_()
        pooling.combine.weight[:, 1:] = 1.0
        pooling.combine.bias.fill_(100.0)
    outputs = pooling(torch.ones(40, 1), torch.zeros(40, dtype=torch.int64), 0.5)
    kept = outputs[outputs != 0.0]
    assert 0 < len(kept) < 40
    assert len(set(kept.tolist())) == 1
    assert kept[0].item() != pytest.approx(2 * pooling(torch.ones(1, 1), torch.tensor([0])).item())
