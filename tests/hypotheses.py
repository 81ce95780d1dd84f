"""All tag sequences of a few tokens, to check algorithms against brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import strategies as st

from bigru_tagger.decoding.transitions import Transitions

# One label is a prefix of the other, and a hyphen is part of it.
TAGS = ["O", *(f"{part}-{label}" for label in ("PER", "PER-X") for part in "BILU")]
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**32 - 1)


def make_logits(seed, n_tokens, n_tags, scale=3.0, impossible=0.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=scale, size=(n_tokens, n_tags))
    logits[rng.random(logits.shape) < impossible] = -np.inf
    return logits


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
        # tag 0 is always allowed, so that there is a valid sequence
        tables[0][0], tables[0][:, 0], tables[1][0], tables[2][0] = 0.5, -0.5, 0.0, 0.0
    return Transitions(*tables)


TRANSITIONS = pytest.mark.parametrize(
    ("kind", "n_tags"),
    [("free", 3), ("biluo", 5), ("real", 1), ("real", 4), ("partly forbidden", 5)],
)


def all_hypotheses(logits, transitions):
    """Compute all tag sequences of one sequence of tokens, and their scores by the definition."""
    n_tokens, n_tags = logits.shape
    hypotheses = np.array(list(product(range(n_tags), repeat=n_tokens)), dtype=np.int64)
    scores = logits[np.arange(n_tokens), hypotheses].sum(1)
    if n_tokens:
        scores += transitions.first[hypotheses[:, 0]] + transitions.last[hypotheses[:, -1]]
        scores += transitions.between[hypotheses[:, :-1], hypotheses[:, 1:]].sum(1)
    return hypotheses, scores


def split(array, lengths):
    return np.split(array, np.cumsum(lengths)[:-1])
