import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bigru_tagger.network.context import ContextPooling

POOLS = ["occurrences", "global_context"]
KINDS = pytest.mark.parametrize("pools", [POOLS[:1], POOLS[1:], POOLS], ids="+".join)
POOL = pytest.mark.parametrize("pool", POOLS)


def make_pooling(width, n_out=None, **units):
    """With random parameters, but those that make the means uneven."""
    torch.manual_seed(0)
    units = {**dict.fromkeys(POOLS, 0), **units}
    pooling = ContextPooling(width, **units, n_out=width if n_out is None else n_out)
    for parameter in [*pooling.project.parameters(), *pooling.combine.parameters()]:
        nn.init.normal_(parameter)
    return pooling


def make_uneven(pooling, scale=1.0):
    for parameter in pooling.attend.parameters():
        nn.init.normal_(parameter, std=scale)
    return pooling


def pool_by_hand(pooling, states, groups):
    """Compute the documented formula, token by token."""
    layers = {**pooling.project, "combine": pooling.combine}
    queries = {
        name: layer.weight.detach().double().numpy() for name, layer in pooling.attend.items()
    }
    weights = {
        name: [parameter.detach().double().numpy() for parameter in (layer.weight, layer.bias)]
        for name, layer in layers.items()
    }
    pooled = []
    for token, state in enumerate(states):
        parts = [state]
        for name, group in groups.items():
            v, bias = weights[name]
            same = [h for h, g in zip(states, group, strict=True) if g == group[token]]
            counts = [math.exp((queries[name] @ h).item()) for h in same]
            mean = sum(n * (v @ h + bias) for n, h in zip(counts, same, strict=True)) / sum(counts)
            parts.append(np.tanh(mean))
        w, bias = weights["combine"]
        pooled.append(np.maximum(w @ np.concatenate(parts) + bias, 0.0))
    return pooled


@KINDS
@settings(max_examples=30, deadline=None)
@given(
    tokens=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 2),
            st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_each_token_gets_the_means_over_its_groups(pools, tokens):
    pooling = make_uneven(make_pooling(3, 5, **dict(zip(pools, (2, 4), strict=False))))
    words, docs, states = map(list, zip(*tokens, strict=True))
    groups = {
        name: group for name, group in zip(POOLS, (words, docs), strict=True) if name in pools
    }
    tensors = {name: torch.tensor(group) for name, group in groups.items()}
    output = pooling(torch.tensor(states), tensors)
    expected = pool_by_hand(pooling, np.array(states), groups)
    np.testing.assert_allclose(output.detach().numpy(), expected, atol=1e-5)


@POOL
def test_one_unit_by_hand(pool):
    pooling = make_pooling(1, **{pool: 1})
    pooling.project[pool].load_state_dict(
        {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}
    )
    pooling.combine.load_state_dict(
        {"weight": torch.tensor([[1.0, 10.0]]), "bias": torch.tensor([0.5])}
    )
    output = pooling(torch.tensor([[0.1], [0.3], [-9.0]]), {pool: torch.tensor([0, 0, 1])})
    # Means of 2h + 1: (1.2 + 1.6) / 2 = 1.4, and -17; tanh 1.4 = 0.885352.
    assert output.flatten().tolist() == pytest.approx([9.453517, 9.653517, 0.0], abs=1e-5)


@POOL
def test_an_occurrence_counts_by_its_score(pool):
    pooling = make_pooling(1, **{pool: 1})
    pooling.project[pool].load_state_dict(
        {"weight": torch.tensor([[1.0]]), "bias": torch.tensor([0.0])}
    )
    pooling.attend[pool].load_state_dict({"weight": torch.tensor([[math.log(3.0)]])})
    pooling.combine.load_state_dict(
        {"weight": torch.tensor([[0.0, 1.0]]), "bias": torch.tensor([0.0])}
    )
    output = pooling(torch.tensor([[0.0], [1.0], [-9.0]]), {pool: torch.tensor([0, 0, 1])})
    # 0 counts once and 1 three times, so the mean is 0.75, tanh 0.75 = 0.635149; ReLU of -1 is 0.
    assert output.flatten().tolist() == pytest.approx([0.635149, 0.635149, 0.0], abs=1e-5)


@POOL
def test_scores_of_any_size_make_a_mean(pool):
    pooling = make_uneven(make_pooling(3, **{pool: 2}), scale=1e4)
    states = torch.randn(9, 3, requires_grad=True)
    output = pooling(states, {pool: torch.tensor([0, 0, 0, 2, 2, 2, 2, 3, 3])})
    output.sum().backward()
    assert output.isfinite().all()
    assert states.grad.isfinite().all()


def test_both_means_by_hand():
    pooling = make_pooling(1, occurrences=1, global_context=1)
    for project, weight in zip(pooling.project.values(), (1.0, 2.0), strict=True):
        nn.init.constant_(project.weight, weight)
        nn.init.zeros_(project.bias)
    pooling.combine.load_state_dict(
        {"weight": torch.tensor([[1.0, 10.0, 100.0]]), "bias": torch.tensor([0.0])}
    )
    # Two Docs, of the words a b a and a; the middle one is without tokens.
    groups = {
        "occurrences": torch.tensor([0, 1, 0, 2]),
        "global_context": torch.tensor([0, 0, 0, 2]),
    }
    output = pooling(torch.tensor([[0.1], [0.2], [0.3], [1.0]]), groups)
    # Of a b a: means 0.2 of a, 0.2 of b, 0.4 of the Doc; tanh 0.2 = 0.197375, 0.4 = 0.379949.
    # Of the other: 1, tanh = 0.761594, and 2, tanh = 0.964028.
    expected = [40.068647, 40.168647, 40.268647, 105.018700]
    assert output.flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_no_tokens():
    states = torch.zeros(0, 3)
    groups = dict.fromkeys(POOLS, torch.zeros(0, dtype=torch.int64))
    pooling = make_pooling(3, occurrences=2, global_context=2)
    assert pooling(states, groups, 0.5).shape == (0, 3)


@POOL
def test_every_token_of_the_group_gets_a_gradient(pool):
    states = torch.randn(4, 3, requires_grad=True)
    make_pooling(3, **{pool: 2})(states, {pool: torch.tensor([0, 2, 0, 2])})[0].sum().backward()
    assert states.grad.any(1).tolist() == [True, False, True, False]
    assert states.grad.isfinite().all()


@POOL
def test_means_are_not_summed_in_low_precision(pool):
    """A sum of bfloat16 would stop at 256 times its terms."""
    pooling = make_pooling(1, **{pool: 1})
    states, groups = torch.full((5000, 1), 0.01), torch.zeros(5000, dtype=torch.int64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        many, few = (pooling(states[:n], {pool: groups[:n]})[0] for n in (5000, 10))
    torch.testing.assert_close(many, few, atol=1e-2, rtol=1e-2)


def test_dropout_zeroes_units_and_scales_the_others_up():
    pooling = make_pooling(4, occurrences=50, global_context=50)
    with torch.no_grad():
        pooling.combine.weight[:, 4:] = 0.0  # or what the means lose would change the sums
    states, groups = torch.rand(2000, 4), dict.fromkeys(POOLS, torch.arange(2000))
    output, dropped = pooling(states, groups), pooling(states, groups, 0.5)
    kept = dropped != 0.0
    torch.testing.assert_close(dropped[kept], 2 * output[kept])
    assert kept[output > 0.0].float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(pooling(states, groups), output)


@POOL
def test_dropout_of_the_means_is_the_same_for_the_whole_group(pool):
    pooling = make_pooling(1, **{pool: 50})
    with torch.no_grad():
        pooling.combine.weight.zero_()
        pooling.combine.weight[:, 1:] = 1.0
        pooling.combine.bias.fill_(100.0)
    groups = {pool: torch.zeros(40, dtype=torch.int64)}
    outputs = pooling(torch.ones(40, 1), groups, 0.5)
    kept = outputs[outputs != 0.0]
    assert 0 < len(kept) < 40
    assert len(set(kept.tolist())) == 1
    single = pooling(torch.ones(1, 1), {pool: torch.tensor([0])})
    assert kept[0].item() != pytest.approx(2 * single.item())


def test_a_single_mean_has_only_its_own_parameters():
    for pool in POOLS:
        shapes = {
            name: tuple(p.shape) for name, p in make_pooling(3, **{pool: 2}).named_parameters()
        }
        assert shapes == {
            f"project.{pool}.weight": (2, 3),
            f"project.{pool}.bias": (2,),
            f"attend.{pool}.weight": (1, 3),
            "combine.weight": (3, 5),
            "combine.bias": (3,),
        }
