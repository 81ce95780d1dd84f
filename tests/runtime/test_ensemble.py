"""Networks whose logits are averaged."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_array_network import (
    EMBED,
    LENGTHS,
    SEEDS,
    assert_equal,
    in_numpy,
    make_batch,
    make_network,
    predict,
    to_torch,
)

from bigru_tagger.errors import ModelError
from bigru_tagger.network.ensemble import NetworkEnsemble, build_network
from bigru_tagger.runtime.ensemble import build_arrays, join_members, load_arrays, split_members
from bigru_tagger.runtime.network import ArrayNetwork, pack_network

FULL = {"occurrences": 2, "global_context": 3, "context_width": 5, "decode": "crf"}


@pytest.fixture(scope="module")
def members():
    return [make_network(seed, **FULL) for seed in (1, 2, 3)]


@settings(max_examples=20, deadline=None)
@given(LENGTHS, SEEDS, st.integers(2, 4), st.sampled_from(["crf", "constrained"]))
def test_logits_are_the_mean_of_the_members(lengths, seed, n, decode):
    members = [make_network(seed + i, **{**FULL, "decode": decode}) for i in range(n)]
    ensemble = NetworkEnsemble(members).eval()
    batch = make_batch(lengths, seed)
    expected = np.mean([in_numpy(member)(batch) for member in members], axis=0)
    ours = build_arrays(ensemble.spec, ensemble.arrays)
    assert_equal(ours(batch), expected)
    assert_equal(predict(ensemble, batch), expected)
    assert ours.width == ensemble.width == 5
    for parameter, values in ours.decoder.parameters.items():
        parts = [member.decoder.parameters[parameter].detach().numpy() for member in members]
        np.testing.assert_allclose(values, np.mean(parts, axis=0), atol=1e-7)
    # Features of words that were computed before give the same.
    batch.prepared = ours.prepare(batch.words)
    assert_equal(ours(batch), expected)
    with torch.inference_mode():
        converted = to_torch(batch)
        converted.prepared = ensemble.prepare(converted.words)
        assert_equal(ensemble(converted).numpy(), expected)


def test_equal_arrays_are_stored_once(members):
    joined = join_members([member.arrays for member in members])
    shared = {name.removeprefix("shared.") for name in joined if name.startswith("shared.")}
    assert {"embed.tree.keys", "embed.phrases.lists", "embed.file.keys"} <= shared
    assert "encoder.layers.0.forward_layer.weight_ih_l0" not in shared
    own = len(members[0].arrays) - len(shared)
    assert len(joined) == len(shared) + 3 * own
    for member, arrays in zip(members, split_members(joined, 3), strict=True):
        assert arrays.keys() == member.arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, member.arrays[name])


def test_an_ensemble_is_saved_as_one_file(members):
    ensemble = NetworkEnsemble(members).eval()
    data = ensemble.to_bytes()
    loaded = load_arrays(data)
    assert loaded.spec == ensemble.spec
    assert loaded.spec.members == 3
    assert loaded.to_bytes() == data
    batch = make_batch([4, 0, 3])
    assert_equal(loaded(batch), predict(ensemble, batch))
    assert_equal(predict(build_network(loaded.spec, loaded.arrays).eval(), batch), loaded(batch))


def test_the_file_of_a_single_network_does_not_name_members():
    network = make_network(0)
    assert "members" not in network.spec.to_json()
    assert type(load_arrays(network.to_bytes())) is ArrayNetwork


@pytest.mark.parametrize(
    ("n", "changes", "message"),
    [
        (2, {}, "'member-2.*' belongs to none of its 2 members"),
        (4, {}, "requires the array 'embed.attributes.table.weight'"),
        (10**9, {}, "requires 1000000000 members"),
        (0, {}, "requires 0 members"),
        (-1, {}, "requires -1 members"),
        (3, {"other": np.zeros(1)}, "'other' belongs to none"),
        (3, {"member-0.other": np.zeros(1)}, "other"),
    ],
)
def test_files_that_do_not_fit(members, n, changes, message):
    ensemble = NetworkEnsemble(members)
    spec = type(ensemble.spec)(**{**vars(ensemble.spec), "members": n})
    with pytest.raises(ModelError, match=message):
        load_arrays(pack_network(spec, {**ensemble.arrays, **changes}))


def test_an_ensemble_only_predicts(members):
    ensemble = NetworkEnsemble(members).train()
    batch = to_torch(make_batch([3]))
    with pytest.raises(ModelError, match="cannot be trained: train its members"):
        ensemble(batch)
    with pytest.raises(ModelError, match="the gates of several networks"):
        ensemble.eval().trace(batch)


def test_new_tags_change_no_prediction():
    members = [make_network(seed, {"attributes": EMBED["attributes"]}) for seed in (1, 2)]
    ensemble = NetworkEnsemble(members).eval()
    batch = make_batch([5, 2])
    before = predict(ensemble, batch)
    ensemble.resize(7)
    after = predict(ensemble, batch)
    np.testing.assert_array_equal(after[:, :5], before)
    np.testing.assert_allclose(after[:, 5:], before[:, [0, 0]] - 16.0, atol=1e-5)
    assert ensemble.spec.n_tags == ensemble.width == 7
