import contextlib
import dataclasses
import functools
import json
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bigru_tagger.decoding.constrained_softmax import ConstrainedSoftmax
from bigru_tagger.network.encoder import Dropout
from bigru_tagger.network.network import Network
from bigru_tagger.runtime.spec import Batch, NetworkSpec
from bigru_tagger.runtime.storage import pack_arrays

EMBED = {
    "attributes": {"kind": "hash", "rows": [11, 7], "width": 3, "unknown_rate": 0.0},
    "characters": {
        **{"kind": "char_cnn", "rows": 9, "width": 2},
        **{"out_channels": 4, "kernel_size": 3},
    },
    "vectors": {"kind": "vectors", "width": 2},
    "upstream": {"kind": "tok2vec", "width": 3},
}
METADATA = "bigru_tagger.network"
GROUPS = {"occurrences": torch.tensor([0, 1, 1, 2]), "global_context": torch.tensor([0, 0, 1, 1])}


def make_network(seed=0, embed=EMBED, hidden=(4, 3), n_tags=5, seen=True, **settings):
    torch.manual_seed(seed)
    network = Network(NetworkSpec(embed, list(hidden), n_tags=n_tags, **settings))
    for parameter in network.parameters():  # biases too
        torch.nn.init.normal_(parameter, std=0.5)
    for name, buffer in network.named_buffers():
        if name.endswith("seen"):
            buffer.fill_(seen)
    return network


def make_batch(lengths, n_words=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n_tokens = sum(lengths)
    vectors = torch.randn(n_words, 2, generator=generator)
    vectors[:1] = 0.0
    return Batch(
        lengths,
        torch.randint(max(n_words, 1), (n_tokens,), generator=generator),
        {
            "attributes": (torch.randint(18, (n_words, 2), generator=generator),),
            "characters": (torch.randint(1, 9, (n_words, 5), generator=generator),),
            "vectors": (vectors, torch.arange(n_words).unsqueeze(1)),
        },
        {"upstream": torch.randn(n_tokens, 3, generator=generator)},
    )


def dense_batch(lengths, width):
    """Make a batch for a network of input vectors, all of them different from zero."""
    vectors = torch.rand(sum(lengths), width, generator=torch.Generator().manual_seed(0)) + 0.5
    return Batch(lengths, torch.zeros(sum(lengths), dtype=torch.int64), tokens={"dense": vectors})


def dense_network(width, hidden=(), **settings):
    return make_network(
        embed={"dense": {"kind": "tok2vec", "width": width}}, hidden=hidden, **settings
    )


def sequence_of(batch, row):
    start = sum(batch.lengths[:row])
    tokens = slice(start, start + batch.lengths[row])
    upstream = {"upstream": batch.tokens["upstream"][tokens]}
    return Batch(batch.lengths[row : row + 1], batch.index[tokens], batch.words, upstream)


def test_without_layers_the_network_is_linear_in_its_embeddings():
    network = dense_network(2, n_tags=3)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
    network.linear.load_state_dict({"weight": weight, "bias": torch.tensor([0.0, 0.5, 1.0])})
    tokens = {"dense": torch.tensor([[1.0, 2.0], [3.0, 5.0]])}
    logits = network(Batch([1, 1], torch.zeros(2, dtype=torch.int64), tokens=tokens))
    assert logits.tolist() == [[1.0, 2.5, 1.0], [3.0, 5.5, 2.0]]


def test_embeddings_are_concatenated_words_first_and_spread_over_the_tokens():
    network, batch = make_network(hidden=[], n_tags=None), make_batch([3, 0, 4])
    words = [network.embed[name](*batch.words[name]) for name in list(EMBED)[:3]]
    expected = torch.cat([torch.cat(words, 1)[batch.index], batch.tokens["upstream"]], 1)
    assert torch.equal(network(batch), expected)
    assert network.width == 6 + 4 + 2 + 3


def test_each_distinct_word_is_embedded_once():
    network, batch = make_network(), make_batch([30, 20], n_words=6)
    seen = []
    network.embed["characters"].register_forward_hook(
        lambda module, inputs, output: seen.append(len(inputs[0]))
    )
    network(batch)
    assert seen == [6]


def test_a_network_without_tags_returns_hidden_states():
    network, batch = make_network(n_tags=None), make_batch([3, 2])
    with_tags = make_network(n_tags=2)
    with_tags.load_state_dict(network.state_dict(), strict=False)
    states = network(batch)
    assert states.shape == (5, network.width) == (5, 6)
    assert torch.equal(with_tags(batch), with_tags.linear(states))


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=5))
def test_logits_do_not_depend_on_the_batch(lengths):
    network, batch = make_network(), make_batch(lengths)
    for row, logits in enumerate(network(batch).split(lengths)):
        torch.testing.assert_close(network(sequence_of(batch, row)), logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("n_tags", "width"), [(5, 5), (None, 6)])
def test_no_tokens_give_no_logits(n_tags, width):
    assert make_network(n_tags=n_tags)(make_batch([0, 0])).shape == (0, width)
    assert make_network(n_tags=n_tags)(make_batch([0], n_words=0)).shape == (0, width)


def test_all_parameters_get_a_gradient():
    network, stranger = make_network(), make_network(seen=False).eval()
    network(make_batch([6, 5])).square().sum().backward()
    stranger(make_batch([6, 5])).square().sum().backward()
    network.embed["attributes"].unknown.grad = stranger.embed["attributes"].unknown.grad
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_word_dropout_zeroes_whole_tokens_and_leaves_the_others():
    torch.manual_seed(0)
    network, batch = dense_network(4, n_tags=None), dense_batch([600, 400], 4)
    dropped = network(batch, Dropout(word=0.3))
    kept = dropped.any(1)
    assert torch.equal(dropped, batch.tokens["dense"] * kept[:, None])
    assert (~kept).double().mean().item() == pytest.approx(0.3, abs=0.06)
    assert torch.equal(network(batch, Dropout()), batch.tokens["dense"])


def test_input_and_hidden_dropout_reach_the_encoder():
    network, batch = dense_network(4, n_tags=None), dense_batch([5, 5], 4)
    dropped = network(batch, Dropout(input=0.5))
    torch.testing.assert_close(dropped[dropped != 0], 2 * batch.tokens["dense"][dropped != 0])
    assert (dropped == 0).any()
    stacked = dense_network(4, hidden=[20], n_tags=None)(batch, Dropout(hidden=0.5))
    assert (stacked == 0).any()


def test_a_word_loses_the_same_units_at_all_its_tokens():
    spec = NetworkSpec({"it": {"kind": "vectors", "width": 400}}, hidden=[], n_tags=None)
    vectors, row = torch.full((3, 400), 2.0), torch.tensor([2, 0, 2, 1])
    words = {"it": (vectors, torch.zeros(3, 1, dtype=torch.int64))}
    dropped = Network(spec)(Batch([3, 1], row, words), Dropout(input=0.25))
    assert torch.equal(dropped[0], dropped[2])
    assert not torch.equal(dropped[0], dropped[1])
    kept = dropped != 0
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.06)
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 2.0 / 0.75))


@pytest.mark.parametrize("hidden", [[], [5]])
def test_word_dropout_reaches_what_tokens_share(hidden):
    """Half of the tokens have an input of zero, and the same logits, as there is no GRU."""
    torch.manual_seed(0)
    embed = {"it": {"kind": "vectors", "width": 3}, "own": {"kind": "tok2vec", "width": 2}}
    network = Network(NetworkSpec(embed, hidden=hidden, n_tags=None))
    words = {"it": (torch.rand(2, 3), torch.zeros(2, 1, dtype=torch.int64))}
    row, own = torch.arange(800) % 2, torch.ones(800, 2)
    batch = Batch([1] * 800, row, words, {"own": own})
    dropped = network(batch, Dropout(word=0.5))
    nothing = network(
        Batch([1], row[:1], {"it": (torch.zeros(2, 3), words["it"][1])}, {"own": own[:1] * 0})
    )
    zeroed = (dropped == nothing).all(1)
    assert zeroed.double().mean().item() == pytest.approx(0.5, abs=0.06)
    assert torch.equal(dropped[~zeroed], network(batch)[~zeroed])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_tags": None},
        {"cell": "lstm", "bidirectional": False},
        {"hidden": []},
        {"decode": "crf"},
        {"embed": {**EMBED, "vectors": {"kind": "vectors", "width": 0}}},
        {"embed": {**EMBED, "vectors": {"kind": "vectors", "width": 0, "correction_rows": 9}}},
        {"embed": {**EMBED, "vectors": {"kind": "vectors", "width": 2, "correction_rows": 9}}},
    ],
)
def test_saved_networks_have_the_same_output(settings):
    network, batch = make_network(seed=1, **settings), make_batch([4, 0, 7])
    vectors, forms = batch.words["vectors"]
    batch.words["vectors"] = (vectors[:, : network.embed["vectors"].width], forms)
    data = network.to_bytes()
    torch.manual_seed(2)
    loaded = Network.from_bytes(data)
    assert loaded.spec == network.spec
    assert torch.equal(loaded(batch), network(batch))
    assert loaded.to_bytes() == data


def test_the_bytes_are_a_safetensors_file():
    network = make_network()
    tensors = safetensors.torch.load(network.to_bytes())
    assert tensors.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensors[name], tensor)


def saved(spec, **tensors):
    metadata = {METADATA: spec if isinstance(spec, str) else json.dumps(spec)}
    return safetensors.torch.save(tensors or {"x": torch.zeros(1)}, metadata=metadata)


GOOD_SPEC = {"embed": {"dense": {"kind": "tok2vec", "width": 2}}, "hidden": [], "n_tags": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"more than eight bytes of garbage",
        make_network().to_bytes()[:-1],
        safetensors.torch.save({"x": torch.zeros(1)}),
        safetensors.torch.save({"x": torch.zeros(1)}, metadata={"other": "{}"}),
        saved("{"),
        saved("null"),
        saved([]),
        saved({**GOOD_SPEC, "embed": {}}),
        saved({**GOOD_SPEC, "hidden": [0]}),
        saved({"embed": {}}),
        saved({**GOOD_SPEC, "embed": []}),
        saved({**GOOD_SPEC, "embed": {"dense": 5}}),
        saved({**GOOD_SPEC, "embed": {"dense": {"kind": ["tok2vec"], "width": 2}}}),
        saved(
            {
                **GOOD_SPEC,
                "embed": {"hash": {"kind": "hash", "rows": [2], "width": 0, "unknown_rate": 0.0}},
            }
        ),
        saved({**GOOD_SPEC, "hidden": "4"}),
        saved({**GOOD_SPEC, "depth": 2}),
        saved(GOOD_SPEC),
        saved(GOOD_SPEC, **{"linear.weight": torch.zeros(1, 3), "linear.bias": torch.zeros(1)}),
    ],
)
def test_data_that_is_no_saved_network_is_refused(data):
    with pytest.raises(ValueError, match="not a saved bigru_tagger network"):
        Network.from_bytes(data)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@settings(max_examples=75, deadline=None)
@given(place=st.integers(0), byte=st.sampled_from(b'019.-e"{}[],:a\x00\xff'))
def test_a_damaged_header_gives_a_network_or_a_value_error(place, byte):
    data = bytearray(make_network(hidden=[2]).to_bytes())
    header_end = 8 + int.from_bytes(data[:8], "little")
    data[place % header_end] = byte
    with contextlib.suppress(ValueError):
        assert isinstance(Network.from_bytes(bytes(data)), Network)


def claiming(network, **changes):
    """Save the tensors of a network with another spec."""
    spec = json.loads(json.dumps(dataclasses.asdict(network.spec)))
    for path, value in changes.items():
        *keys, last = path.split("__")
        functools.reduce(dict.__getitem__, keys, spec)[last] = value
    return pack_arrays(network.arrays, METADATA, spec)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": [100_000, 3]}, r"float32 \[300000, 15\] for 'encoder.layers"),
        ({"hidden": [4] * 1_000_000}, "requires 1000000 layers, the file contains"),
        ({"embed__attributes__rows": [10**11, 5]}, r"float32 \[100000000005, 3\] for 'embed.attr"),
        ({"embed__characters__out_channels": 10**9}, r"for 'embed.characters.convolution.weight'"),
        ({"decode": "crf"}, "requires the array 'crf.between', the file does not contain it"),
        ({"n_tags": 10**7}, r"float32 \[10000000, 6\] for 'linear.weight'"),
        ({"n_tags": 10**12, "decode": "crf"}, r"float32 \[1000000000000, 6\] for 'linear.weight'"),
        ({"occurrences": 10**8}, "requires the array 'context.project.occurrences.weight'"),
        ({"hidden": []}, r"float32 \[5, 15\] for 'linear.weight', .* contains float32 \[5, 6\]"),
        ({"n_tags": None}, "2 arrays that its spec does not describe: linear.bias, linear.weight"),
        ({"embed__vectors__width": 2.0}, r"float32 \[2.0\] for 'embed.vectors.unknown'"),
    ],
    ids=lambda value: str(value)[:50],  # one has a million numbers
)
def test_a_spec_that_does_not_match_the_tensors_takes_no_memory(changes, message):
    data = claiming(make_network(), **changes)
    # The largest of these networks would take 100 TB.
    with pytest.raises(
        ValueError, match=rf"not a saved bigru_tagger network: .*{message}"
    ) as error:
        Network.from_bytes(data)
    assert "\n" not in str(error.value)


def test_numbers_of_another_type_are_refused():
    network = make_network()
    spec = dataclasses.asdict(network.spec)
    data = pack_arrays(network.double().arrays, METADATA, spec)
    with pytest.raises(ValueError, match=r"requires float32 .*, the file contains float64"):
        Network.from_bytes(data)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_loaded_network_has_all_its_numbers_and_draws_none(cell):
    network = make_network(cell=cell, decode="crf", occurrences=2).eval()
    data, before = network.to_bytes(), torch.get_rng_state()
    loaded = Network.from_bytes(data)
    assert torch.equal(torch.get_rng_state(), before)
    # Also buffers that are not saved.
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        get = loaded.get_parameter if value.requires_grad else loaded.get_buffer
        assert torch.equal(get(name), value), name
    batch = make_batch([4, 3])
    batch.groups = {"occurrences": torch.tensor([0, 1, 0, 2, 3, 3, 4])}
    assert torch.equal(loaded.eval()(batch), network(batch))
    loaded.train()(batch).sum().backward()
    assert all(p.grad is not None for p in loaded.encoder.parameters())


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data):
    with pytest.raises(ValueError, match="not a saved bigru_tagger network"):
        Network.from_bytes(data)


@pytest.mark.parametrize("pools", [["occurrences"], ["global_context"], list(GROUPS)], ids="+".join)
def test_context_needs_groups_and_shares_states_between_them(pools):
    network = dense_network(3, n_tags=None, **dict.fromkeys(pools, 2))
    batch = dense_batch([2, 2], 3)
    for present in range(len(pools)):
        batch.groups = {name: GROUPS[name] for name in pools[:present]}
        with pytest.raises(ValueError, match=rf"needs the groups .* for .*{pools[-1]}'\]"):
            network(batch)
    batch.groups = GROUPS
    expected = network.context(batch.tokens["dense"], batch.groups)
    assert torch.equal(network(batch), expected)
    assert network(batch).shape == (4, network.width) == (4, 3)
    assert torch.equal(Network.from_bytes(network.to_bytes())(batch), expected)


def test_a_gazetteer_reads_hashes_of_words_along_the_sequences():
    embed = {
        "phrases": {
            "kind": "gazetteer",
            "lists": ["X"],
            "n_phrases": 1,
            "width": 2,
            "max_words": 3,
        }
    }
    network = make_network(embed=embed, hidden=[], n_tags=None)
    network.fill({"phrases": {"keys": [7], "lists": [1]}})
    # Words with hashes 3 and 1 and powers 2: 3 * 2 + 1 = 7 is the phrase of both.
    words = {"phrases": (torch.tensor([[1, 2], [3, 2]]),)}
    hidden = network(Batch([3, 1], torch.tensor([0, 1, 0, 0]), words))
    weight, bias = network.embed["phrases"].linear.weight, network.embed["phrases"].linear.bias
    expected = torch.stack([bias, weight[:, 0] + bias, weight[:, 2] + bias, bias])
    torch.testing.assert_close(hidden, expected)


def test_filling_sets_buffers_and_storage_keeps_them():
    embed = {"table": {"kind": "vector_file", "n_words": 2, "width": 1, "half": True}}
    network = make_network(embed=embed, hidden=[], n_tags=None)
    network.fill({"table": {"keys": [3, 8], "table": [[0.5], [1.5]]}})
    batch = Batch([3], torch.tensor([1, 0, 1]), {"table": (torch.tensor([[8, 3], [1, 3]]),)})
    for filled in (network, Network.from_bytes(network.to_bytes())):
        assert filled(batch).tolist() == [[0.5], [1.5], [0.5]]
        assert filled.embed["table"].table.dtype == torch.float16


def test_resizing_keeps_the_scores_and_anchors_new_ones_to_the_first():
    network, batch = make_network(n_tags=3), make_batch([4, 5])
    before = network(batch)
    network.resize(5)
    after = network(batch)
    torch.testing.assert_close(after[:, :3], before, atol=1e-6, rtol=0)
    for new in (3, 4):
        torch.testing.assert_close(after[:, new], before[:, 0] - 16.0, atol=1e-5, rtol=0)
    assert network.width == network.spec.n_tags == 5
    assert torch.equal(Network.from_bytes(network.to_bytes())(batch), after)
    after.sum().backward()
    assert network.linear.weight.grad[3:].any()


def test_resizing_keeps_the_transitions_of_a_crf():
    network = make_network(n_tags=3, decode="crf")
    before = network.decoder.parameters["between"].detach().clone()
    network.resize(5)
    assert torch.equal(network.decoder.parameters["between"][:3, :3], before)
    loaded = Network.from_bytes(network.to_bytes())
    assert torch.equal(loaded.decoder.parameters["between"], network.decoder.parameters["between"])


@pytest.mark.parametrize("setting", ["decode", "global_context"])
def test_a_network_saved_before_there_was_a_setting_still_loads(setting):
    network, batch = make_network(), make_batch([4])
    spec = dataclasses.asdict(network.spec)
    del spec[setting]
    loaded = Network.from_bytes(saved(spec, **network.state_dict()))
    assert loaded.spec == network.spec
    assert type(loaded.decoder) is ConstrainedSoftmax
    assert loaded.context is None
    assert loaded.embed["vectors"].correction is None
    assert torch.equal(loaded(batch), network(batch))


@pytest.mark.parametrize(("crf", "decode"), [(True, "crf"), (False, "constrained")])
def test_a_network_saved_when_the_crf_was_a_switch_still_loads(crf, decode):
    network = make_network(decode=decode)
    spec = dataclasses.asdict(network.spec)
    del spec["decode"]
    # The names of tensors in saved files must not change.
    names = {"crf.between", "crf.first", "crf.last"} if crf else set()
    assert {name for name in network.state_dict() if "crf" in name} == names
    loaded = Network.from_bytes(saved({**spec, "crf": crf}, **network.state_dict()))
    assert loaded.spec == network.spec
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_without_tags_there_is_no_decoder():
    network = make_network(n_tags=None, decode="crf")
    assert not any("crf" in name for name in network.state_dict())
    with pytest.raises(ValueError, match="without tags has no decoder"):
        network.decoder  # noqa: B018 - a property


def test_resizing_to_the_same_size_changes_nothing():
    network, batch = make_network(n_tags=3), make_batch([4])
    before = network(batch)
    network.resize(3)
    assert torch.equal(network(batch), before)


@pytest.mark.parametrize(("n_tags", "new"), [(3, 2), (3, 0), (None, 4)])
def test_resizing_neither_removes_tags_nor_makes_a_tagger(n_tags, new):
    network = make_network(n_tags=n_tags)
    with pytest.raises(ValueError, match=f"from {n_tags} tags to {new}"):
        network.resize(new)
    assert network.spec.n_tags == n_tags


@pytest.mark.parametrize(
    ("embed", "named"), [({}, "none"), ({"static": {"kind": "vectors", "width": 0}}, "static")]
)
def test_a_network_without_input_is_refused(embed, named):
    with pytest.raises(ValueError, match=f"no input.*{named}"):
        Network(NetworkSpec(embed, [4], n_tags=2))


@pytest.mark.parametrize("arguments", [{"kind": "bert", "width": 2}, {"width": 2}])
def test_an_embedding_of_an_unknown_kind_is_named(arguments):
    with pytest.raises(ValueError, match=f"'first'.*{arguments.get('kind')}"):
        Network(NetworkSpec({"first": arguments}, [4]))


def test_building_a_network_leaves_its_spec_as_it_was():
    embed = {"dense": {"kind": "tok2vec", "width": 2}}
    Network(NetworkSpec(embed, [4]))
    assert embed == {"dense": {"kind": "tok2vec", "width": 2}}


def test_the_modules_of_the_network_import_neither_spacy_nor_transformers():
    program = """
import importlib, pkgutil, sys
for package in ("decoding", "network", "runtime"):
    path = importlib.import_module(f"bigru_tagger.{package}").__path__
    for module in pkgutil.walk_packages(path, f"bigru_tagger.{package}."):
        importlib.import_module(module.name)
print(sorted({"spacy", "transformers"} & set(sys.modules)))
print(*(name for name in sys.modules if name.startswith("bigru_tagger.")))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    imported, modules = ran.stdout.splitlines()
    assert imported == "[]"
    expected = ("decoding.crf", "network.network", "network.transformer_loading", "runtime.network")
    assert {f"bigru_tagger.{name}" for name in expected} <= set(modules.split())
