import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bigru_tagger.model.cache import WordCache

ROW_BYTES = 2 * 4 + 8


class Counter:
    """Rows that contain their key, and a count of computations per key."""

    def __init__(self):
        self.computed = []

    def compute(self, keys):
        assert (np.diff(keys) > 0).all()  # distinct and ascending
        self.computed += keys.tolist()
        own = torch.from_numpy(keys)
        return {"pair": torch.stack([own, -own], 1).float(), "key": own}

    def look_up(self, cache, keys, version=(0,)):
        keys = np.asarray(keys)
        tables, rows = cache.look_up(keys, version, self.compute)
        assert {name: table.dtype for name, table in tables.items()} == {
            "pair": torch.float32,
            "key": torch.int64,
        }
        assert tables["key"][rows].tolist() == keys.tolist()
        assert tables["pair"][rows].tolist() == [[key, -key] for key in keys.tolist()]
        return tables, rows


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.lists(st.lists(st.integers(1, 30), min_size=1), max_size=8))
def test_rows_are_right_and_bounded_whatever_is_asked_for(capacity, batches):
    cache, counter = WordCache(capacity * ROW_BYTES), Counter()
    for batch in batches:
        counter.look_up(cache, batch)
        assert len(cache) <= capacity
        assert cache.n_bytes <= capacity * ROW_BYTES


def test_a_word_is_computed_once():
    cache, counter = WordCache(1 << 20), Counter()
    for keys in ([3, 5], [3, 5, 7], [5], list(range(1, 3000)), [2999]):
        counter.look_up(cache, keys)
    assert sorted(counter.computed) == list(range(1, 3000))
    assert len(cache) == 2999


def test_tables_do_not_grow():
    cache, counter = WordCache(9 * ROW_BYTES), Counter()
    first, _ = counter.look_up(cache, [3])
    assert cache.n_bytes == ROW_BYTES
    later, _ = counter.look_up(cache, [1, 2, 3, 4, 5, 6, 7, 8])
    assert cache.n_bytes == 8 * ROW_BYTES
    assert [len(table) for table in later.values()] == [9, 9]
    assert all(later[name] is table for name, table in first.items())


def test_what_does_not_fit_begins_anew():
    cache, counter = WordCache(4 * ROW_BYTES), Counter()
    counter.look_up(cache, [1, 2, 3])
    counter.look_up(cache, [3, 4, 5])
    assert (len(cache), counter.computed[3:][-3:]) == (3, [3, 4, 5])
    counter.computed.clear()
    counter.look_up(cache, [3, 5])
    assert counter.computed == []
    # More words than fit at all: they are computed, and those there stay.
    counter.look_up(cache, [10, 11, 12, 13, 14])
    counter.look_up(cache, [3, 5])
    assert counter.computed == [10, 11, 12, 13, 14]


def test_tables_that_were_handed_out_stay_as_they_are():
    """Another thread may be at work on them."""
    cache, counter = WordCache(4 * ROW_BYTES), Counter()
    tables, rows = counter.look_up(cache, [1, 2, 3])
    counter.look_up(cache, [4, 5, 6, 7])
    counter.look_up(cache, [8], version=(1,))
    assert tables["key"][rows].tolist() == [1, 2, 3]


def test_another_version_begins_anew():
    cache, counter = WordCache(1 << 20), Counter()
    one, equal = [0], [0]
    for version in ((1, one), (1, one), (2, one), (2, equal), (2,), (2,)):
        counter.look_up(cache, [9], version)
    assert len(counter.computed) == 4


def test_clear():
    cache, counter = WordCache(1 << 20), Counter()
    counter.look_up(cache, [1, 2])
    cache.clear()
    assert (len(cache), cache.n_bytes) == (0, 0)
    counter.look_up(cache, [2])
    assert counter.computed == [1, 2, 2]


@pytest.mark.parametrize("keys", [[], np.zeros(0, dtype=np.uint64)])
def test_no_words(keys):
    tables, rows = WordCache(1 << 20).look_up(np.asarray(keys), (), lambda keys: {})
    assert (dict(tables), rows.tolist()) == ({}, [])


def test_a_cache_filled_in_inference_mode_is_written_to_outside_of_it():
    cache = WordCache(1 << 20)

    def compute(rows):
        return {"x": torch.ones(len(rows), 2)}

    with torch.inference_mode():
        cache.look_up(np.array([1, 2]), (), compute)
    tables, rows = cache.look_up(np.array([2, 3]), (), compute)
    assert rows.tolist() == [1, 2]
    assert tables["x"][:3].tolist() == [[1.0, 1.0]] * 3
