"""Networks in NumPy have the output of torch's."""

import copy
import dataclasses
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.util import import_file

from bigru_tagger.decoding.transitions import Transitions
from bigru_tagger.network.network import Network
from bigru_tagger.runtime.embeddings import base
from bigru_tagger.runtime.embeddings.hash import hash_multipliers
from bigru_tagger.runtime.ensemble import load_arrays
from bigru_tagger.runtime.network import ArrayNetwork
from bigru_tagger.runtime.spec import SPEC_KEY, Batch, NetworkSpec
from bigru_tagger.runtime.storage import pack_arrays

N_WORDS = 9
# Embeddings of all kinds. The order of `KEYS` and of phrases is that of the hashes.
KEYS = [-50, -7, 3, 8, 2**40]
EMBED = {
    "attributes": {"kind": "hash", "rows": [11, 7], "width": 3, "unknown_rate": 0.3},
    "cnn": {"kind": "char_cnn", "rows": 9, "width": 2, "out_channels": 4, "kernel_size": 3},
    "gru": {"kind": "char_gru", "rows": 9, "width": 3, "hidden": 4},
    "tree": {
        **{"kind": "clusters", "n_words": 5, "n_clusters": 3},
        **{"n_prefixes": 2, "n_rows": 8, "width": 2},
    },
    "phrases": {
        **{"kind": "gazetteer", "lists": ["X", "Y"], "n_phrases": 5},
        **{"width": 3, "max_words": 3},
    },
    "vocab": {"kind": "vectors", "width": 3, "correction_rows": 5},
    "file": {
        **{"kind": "vector_file", "n_words": 5, "width": 3},
        **{"half": True, "correction_rows": 6},
    },
    "whole": {"kind": "vector_file", "n_words": 5, "width": 2, "half": False},
    "upstream": {"kind": "tok2vec", "width": 3},
}
NAMES = st.lists(st.sampled_from(list(EMBED)), min_size=1, unique=True)
LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=6)
SEEDS = st.integers(0, 2**32 - 1)


def make_network(seed, embed=EMBED, hidden=(4, 3), n_tags=5, scale=0.5, **settings):
    generator = torch.Generator().manual_seed(seed)
    network = Network(NetworkSpec(dict(embed), list(hidden), n_tags=n_tags, **settings)).eval()
    for name, parameter in network.named_parameters():  # biases too
        torch.nn.init.normal_(parameter, std=scale, generator=generator)
        if name.endswith(("cnn.table.weight", "gru.table.weight")):
            parameter.data[0] = 0.0  # padding
    values = {
        "tree": {
            "keys": KEYS,
            "clusters": [0, 2, 1, 0, 2],
            "rows": [[0, 4], [1, 5], [2, 6], [3, 7]],
        },
        "phrases": {"keys": KEYS, "lists": [1, 2, 3, 1, 2]},
        "file": {"keys": KEYS, "table": torch.randn(5, 3, generator=generator)},
        "whole": {"keys": KEYS, "table": torch.randn(5, 2, generator=generator)},
    }
    network.fill({name: values[name] for name in values if name in embed})
    for name, buffer in network.named_buffers():
        if name.endswith("seen"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) < 0.9)
    return network


def make_batch(lengths, seed=0, n_words=N_WORDS):
    rng = np.random.default_rng(seed)
    n_tokens = sum(lengths)
    characters = np.zeros((n_words, 8), dtype=np.int64)
    for row in characters:
        n = rng.integers(2, 7)
        row[:n] = rng.integers(1, 9, n)
    candidates = rng.choice([*KEYS, 0, 1, 2], (n_words, 4))
    vectors = rng.normal(size=(n_words, 3)).astype(np.float32)
    vectors[: n_words // 3] = 0.0
    # Hash and power of words. A sum of two is often a phrase.
    phrases = np.stack([rng.choice([3, 8, 1], n_words), rng.choice([1, 5, 7], n_words)], 1)
    words = {
        "attributes": (rng.integers(-(2**63), 2**63 - 1, (n_words, 2)),),
        "cnn": (characters,),
        "gru": (characters,),
        "tree": (candidates,),
        "phrases": (phrases,),
        "vocab": (vectors, candidates[:, 1:2]),
        "file": (candidates,),
        "whole": (candidates,),
    }
    docs = np.repeat(np.arange(len(lengths)) // 2 * 2, lengths)  # some numbers are missing
    return Batch(
        lengths,
        rng.integers(0, max(n_words, 1), n_tokens),
        words,
        {"upstream": rng.normal(size=(n_tokens, 3)).astype(np.float32)},
        {"occurrences": rng.integers(0, 5, n_tokens), "global_context": docs},
    )


def to_torch(batch):
    def convert(arrays):
        return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}

    words = {name: tuple(map(torch.from_numpy, rows)) for name, rows in batch.words.items()}
    return Batch(
        batch.lengths,
        torch.from_numpy(batch.index),
        words,
        convert(batch.tokens),
        convert(batch.groups),
    )


def predict(network, batch):
    with torch.inference_mode():
        return network(to_torch(batch)).numpy()


def in_numpy(network):
    return ArrayNetwork(network.spec, network.arrays)


def assert_equal(found, expected, atol=1e-5):
    """Compare logits: relative to the largest one, as they are sums of terms of any sign."""
    scale = max(np.abs(expected).max(initial=0.0), 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=atol * scale, rtol=0)


@settings(max_examples=50, deadline=None)
@given(
    names=NAMES,
    hidden=st.lists(st.integers(1, 6), max_size=3),
    cell=st.sampled_from(["gru", "lstm"]),
    bidirectional=st.booleans(),
    context=st.sampled_from([{}, {"occurrences": 3}, {"global_context": 2, "context_width": 4}]),
    scale=st.sampled_from([0.01, 0.1, 0.5]),
    lengths=LENGTHS,
    seed=SEEDS,
)
def test_logits_equal_those_of_torch(  # noqa: PLR0917
    names, hidden, cell, bidirectional, context, scale, lengths, seed
):
    network = make_network(
        seed,
        {name: EMBED[name] for name in names},
        hidden,
        scale=scale,
        cell=cell,
        bidirectional=bidirectional,
        **context,
    )
    batch = make_batch(lengths, seed)
    expected = predict(network, batch)
    ours = in_numpy(network)
    assert_equal(ours(batch), expected)
    assert ours.width == network.width == 5
    prepared = dataclasses.replace(batch, words={}, prepared=ours.prepare(batch.words))
    assert_equal(ours(prepared), expected)


@settings(max_examples=40, deadline=None)
@given(
    cell=st.sampled_from(["gru", "lstm"]),
    scale=st.sampled_from([3.0, 30.0, 1e4]),
    lengths=LENGTHS.filter(any),
    seed=SEEDS,
)
def test_peaked_weights_have_rounding_errors_alone(cell, scale, lengths, seed):
    """Stacked layers amplify them. Gates are 0 or 1, and exp overflows, for the largest weights."""
    network = make_network(
        seed, {"attributes": EMBED["attributes"]}, [6, 5], scale=scale, cell=cell, n_tags=None
    )
    batch = make_batch(lengths, seed)
    exact = predict(copy.deepcopy(network).double(), batch)
    # The error in float64 with weights that are changed as much as rounding to float32 could.
    generator = torch.Generator().manual_seed(seed)
    errors = []
    for _ in range(5):
        rounded = copy.deepcopy(network).double()
        for weights in rounded.parameters():
            noise = 2 * torch.rand(weights.shape, generator=generator, dtype=torch.float64) - 1
            weights.data *= 1 + torch.finfo(torch.float32).eps * noise
        errors.append(np.abs(predict(rounded, batch) - exact).max())
    assert np.abs(in_numpy(network)(batch) - exact).max() <= 1e-5 + 10 * max(errors)


@settings(max_examples=20, deadline=None)
@given(decode=st.sampled_from(["constrained", "crf"]), lengths=LENGTHS, seed=SEEDS)
def test_the_decoded_tags_are_those_of_torch(decode, lengths, seed):
    network, batch = make_network(seed, decode=decode), make_batch(lengths, seed)
    ours = in_numpy(network)
    sizes, valid = np.array(lengths), Transitions.biluo(["O", "B-X", "I-X", "L-X", "U-X"])
    expected = network.decoder.decode(network(to_torch(batch)).detach(), sizes, valid)
    assert ours.decoder.decode(ours(batch), sizes, valid).tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(cell=st.sampled_from(["gru", "lstm"]), order=st.permutations(range(25)), data=st.data())
def test_logits_do_not_depend_on_the_batch(cell, order, data):
    """Few sequences run in both directions at once, many in one after the other."""
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=25, max_size=25))
    ours = in_numpy(make_network(1, hidden=(7, 3), cell=cell))
    batch = make_batch(lengths)
    parts = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    whole = ours(batch)
    for rows in (order, order[:2], order[:1]):
        tokens = np.concatenate([parts[row] for row in rows])
        some = Batch(
            [lengths[row] for row in rows],
            batch.index[tokens],
            batch.words,
            {"upstream": batch.tokens["upstream"][tokens]},
        )
        np.testing.assert_allclose(ours(some), whole[tokens], atol=1e-6, rtol=0)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("n_sequences", [1, 2, 17, 400])
def test_long_sequences_and_many_of_them(n_sequences, cell, bidirectional):
    """They do not fit into a run of time steps, or of sequences."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 10_000 // n_sequences, n_sequences)
    lengths[0] = 10_000 // n_sequences
    network = make_network(
        3,
        {name: EMBED[name] for name in ("attributes", "upstream")},
        (150, 5),
        scale=0.1,
        cell=cell,
        bidirectional=bidirectional,
    )
    batch = make_batch(lengths.tolist())
    assert_equal(in_numpy(network)(batch), predict(network, batch))


def test_no_tokens_and_no_words():
    for n_tags, width in ((5, 5), (None, 6)):
        ours = in_numpy(make_network(0, n_tags=n_tags))
        assert ours(make_batch([0, 0])).shape == (0, width) == (0, ours.width)
        empty = make_batch([0], n_words=0)
        assert ours(empty).shape == (0, width)
        assert {len(rows) for rows in ours.prepare(empty.words).values()} == {0}


def test_a_new_network_has_the_changed_weights():
    network, batch = make_network(0), make_batch([5, 3])
    before = in_numpy(network)
    first = before(batch)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    after = in_numpy(network)
    assert np.abs(after(batch) - first).max() > 0.1
    assert_equal(after(batch), predict(network, batch))
    # No parameter was copied.
    assert after.arrays["embed.whole.table"].ctypes.data == network.embed["whole"].table.data_ptr()


def test_groups_are_needed():
    ours = in_numpy(make_network(0, occurrences=2, global_context=2))
    batch = dataclasses.replace(make_batch([3]), groups={})
    with pytest.raises(ValueError, match=r"groups .* \['occurrences', 'global_context'\]"):
        ours(batch)


# --- storage


def test_saved_networks_have_the_same_bytes_and_output():
    network, batch = make_network(0, decode="crf", occurrences=2), make_batch([4, 0, 7])
    data = network.to_bytes()
    loaded = load_arrays(data)
    assert loaded.to_bytes() == in_numpy(network).to_bytes() == data
    assert loaded.spec == network.spec
    assert np.array_equal(loaded(batch), in_numpy(network)(batch))


NAME = "encoder.layers.1.backward_layer.weight_hh_l0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({NAME: None}, f"requires the array '{NAME}', the file does not contain it"),
        ({NAME: np.zeros((9, 4), np.float32)}, rf"\[9, 3\] for '{NAME}', .* \[9, 4\]"),
        ({NAME: np.zeros((9, 3))}, f"float32 .* for '{NAME}', .* float64"),
        ({"other": np.zeros(1)}, "contains 1 arrays that its spec does not describe: other"),
    ],
    ids=["missing", "shape", "type", "other"],
)
def test_arrays_that_do_not_fit_are_named(change, message):
    network = make_network(0)
    arrays = {**network.arrays, **change}
    with pytest.raises(ValueError, match=message):
        ArrayNetwork(network.spec, {n: array for n, array in arrays.items() if array is not None})


def test_without_tags_there_is_no_decoder():
    with pytest.raises(ValueError, match="without tags has no decoder"):
        in_numpy(make_network(0, n_tags=None)).decoder  # noqa: B018 - a property


# --- embeddings


def test_multipliers_of_hashes_are_those_of_torch():
    """Saved networks depend on them, but do not contain them."""
    for n_attrs in (1, 2, 7):
        generator = torch.Generator().manual_seed(0)
        expected = torch.randint(1 << 62, (n_attrs, 4), generator=generator) | 1
        assert hash_multipliers(n_attrs).tolist() == expected.tolist()


def test_unsigned_hashes_are_the_same_as_signed_ones():
    ours, batch = in_numpy(make_network(0)), make_batch([9, 9])
    unsigned = {
        name: tuple(rows.astype(np.uint64) if rows.dtype == np.int64 else rows for rows in arrays)
        for name, arrays in batch.words.items()
    }
    unsigned |= {name: batch.words[name] for name in ("cnn", "gru")}
    assert np.array_equal(ours(dataclasses.replace(batch, words=unsigned)), ours(batch))


def test_a_table_in_half_precision_is_not_converted_as_a_whole():
    n_words, width = 50_000, 100
    arrays = {
        "embed.it.unknown": np.zeros(width, np.float32),
        "embed.it.keys": np.arange(n_words),
        "embed.it.table": np.ones((n_words, width), np.float16),
    }
    kind = {"kind": "vector_file", "n_words": n_words, "width": width, "half": True}
    tracemalloc.start()
    ours = ArrayNetwork(NetworkSpec({"it": kind}, []), arrays)
    found = ours(Batch([2], np.array([1, 0]), {"it": (np.array([[7], [-1]]),)}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[:, 0].tolist() == [0.0, 1.0]
    assert peak < arrays["embed.it.table"].nbytes / 10


# A network with an embedding from outside of the package.
OWN = {"counts": {"kind": "example.CountsEmbed.v1", "width": 3}}
COUNTS = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]], np.float32)


@pytest.mark.parametrize("has_own", [True, False])
def test_an_embedding_without_a_numpy_version_runs_on_torch(has_own, monkeypatch):
    example = import_file("own_embedding", Path(__file__).parents[1] / "examples/own_embedding.py")
    if not has_own:
        monkeypatch.delitem(base._CLASSES, "example.CountsEmbed.v1")
    network = make_network(0, OWN)
    ours = in_numpy(network)
    expected = example.CountsArrays if has_own else base.TorchEmbedding
    assert type(ours.embed["counts"]) is expected
    batch = Batch([2, 1], np.array([0, 1, 1]), {"counts": (COUNTS,)})
    assert_equal(ours(batch), predict(network, batch))


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
sys.path += sys.argv[3:]
from pathlib import Path
from bigru_tagger.runtime.ensemble import load_arrays
from bigru_tagger.runtime.spec import Batch
import numpy as np
index = np.array([0, 1, 0])
network = load_arrays(Path(sys.argv[1]).read_bytes())
print(network(Batch([3], index, {"attributes": (np.array([[1, 2], [3, 4]]),)})).tolist())
try:
    load_arrays(Path(sys.argv[2]).read_bytes())
except ValueError as error:
    print(error)
print([name for name in ("spacy", "thinc", "scipy") if name in sys.modules])
"""


def test_prediction_needs_neither_torch_nor_spacy(tmp_path):
    network = make_network(0, {"attributes": EMBED["attributes"]})
    (tmp_path / "network").write_bytes(network.to_bytes())
    other = dataclasses.asdict(network.spec) | {"embed": OWN}
    (tmp_path / "other").write_bytes(
        pack_arrays({"x": np.zeros(9)}, SPEC_KEY, other | {"hidden": []})
    )
    package = tmp_path / "counts-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: counts\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[spacy_misc]\nexample.CountsEmbed.v1 = counts:__name__\n"
    )
    (tmp_path / "counts.py").write_text("")  # a kind without a version for NumPy

    files = (tmp_path / "network", tmp_path / "other")

    def run(*folders):
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, *files, *folders],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()

    logits, error, imported = run()
    words = {"attributes": (np.array([[1, 2], [3, 4]]),)}
    expected = predict(network, Batch([3], np.array([0, 1, 0]), words))
    assert_equal(np.array(json.loads(logits), np.float32), expected)
    kind = "the kind 'example.CountsEmbed.v1'"
    assert f"embedding 'counts': no installed package defines {kind}: install" in error
    assert imported == "[]"
    logits, error, imported = run(tmp_path)
    assert f"embedding 'counts': {kind} has no version for NumPy" in error
    assert "pip install 'bigru-tagger[torch]'" in error
    assert imported == "[]"
