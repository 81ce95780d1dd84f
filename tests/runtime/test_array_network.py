"""Networks in NumPy have the output of torch's."""

import dataclasses

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bigru_tagger.network.network import Network
from bigru_tagger.runtime.network import ArrayNetwork
from bigru_tagger.runtime.spec import Batch, NetworkSpec

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


def assert_equal(found, expected):
    """Compare logits: relative to the largest one, as they are sums of terms of any sign."""
    scale = max(np.abs(expected).max(initial=0.0), 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale, rtol=0)


@settings(max_examples=120, deadline=None)
@given(
    names=NAMES,
    hidden=st.lists(st.integers(1, 6), max_size=3),
    cell=st.sampled_from(["gru", "lstm"]),
    bidirectional=st.booleans(),
    context=st.sampled_from([{}, {"occurrences": 3}, {"global_context": 2, "context_width": 4}]),
    scale=st.sampled_from([0.01, 0.5, 3.0]),
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
    expected = predict(network, batch) if sum(lengths) else np.zeros((0, 5))
    ours = in_numpy(network)
    assert_equal(ours(batch), expected)
    assert ours.width == network.width == 5
    prepared = dataclasses.replace(batch, words={}, prepared=ours.prepare(batch.words))
    assert_equal(ours(prepared), expected)
