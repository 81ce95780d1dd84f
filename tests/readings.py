"""All tag sequences of a few tokens: what the clever algorithms have to agree with."""

from itertools import product

import numpy as np
import pytest
from hypothesis import strategies as st

from bigru_tagger.network.transitions import Transitions

# One label is a prefix of the other, and a hyphen is part of it.
TAGS = ["O", *(f"{part}-{label}" for label in ("PER", "PER-X") for part in "BILU")]
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**32 - 1)


def make_emissions(seed, n_tokens, n_tags, scale=3.0, impossible=0.0):
    rng = np.random.default_rng(seed)
    emissions = rng.normal(scale=scale, size=(n_tokens, n_tags))
    emissions[rng.random(emissions.shape) < impossible] = -np.inf
    return emissions


def make_transitions(seed, n_tags, kind):
    if kind == "free":
        return Transitions.free(n_tags)
    if kind == "biluo":
        return Transitions.biluo(TAGS[:n_tags])
    rng = np.random.default_rng(seed)
    tables = [rng.normal(scale=2.0, size=shape) for shape in [(n_tags, n_tags), n_tags, n_tags]]
    if kind == "partly forbidden":
        for table in tables:
            table[rng.random(table.shape) < 0.4] = -np.inf
        # tag 0 always goes, so that there is a way through
        tables[0][0], tables[0][:, 0], tables[1][0], tables[2][0] = 0.5, -0.5, 0.0, 0.0
    return Transitions(*tables)


TRANSITIONS = pytest.mark.parametrize(
    ("kind", "n_tags"),
    [("free", 3), ("biluo", 5), ("real", 1), ("real", 4), ("partly forbidden", 5)],
)


def all_readings(emissions, transitions):
    """Score each tag sequence of one sequence of tokens, by the definition."""
    n_tokens, n_tags = emissions.shape
    readings = np.array(list(product(range(n_tags), repeat=n_tokens)), dtype=np.int64)
    scores = emissions[np.arange(n_tokens), readings].sum(1)
    if n_tokens:
        scores += transitions.first[readings[:, 0]] + transitions.last[readings[:, -1]]
        scores += transitions.between[readings[:, :-1], readings[:, 1:]].sum(1)
    return readings, scores


def split(array, lengths):
    return np.split(array, np.cumsum(lengths)[:-1])
