"""Bounded caches for the representations of words and texts."""

import os
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from ..decoding.transitions import Array, library_of


class WordCache:
    """Tables with one row per word, limited in size.

    If a batch does not fit, all rows are dropped. Frequent words return with the next batches, so
    no statistics are needed. Rows that were returned are never overwritten, so threads can share a
    cache. Forked processes can use it too: each process has its own lock, since a lock that another
    thread held during the fork would never be released.
    """

    def __init__(self, max_bytes: int) -> None:
        """Create an empty cache.

        max_bytes (int): maximum size of the tables.
        """
        self.max_bytes = max_bytes
        self._locks: dict[int, Lock] = {}
        self._version: tuple[Any, ...] = ()
        self.clear()

    def clear(self) -> None:
        """Remove all words."""
        self._rows: dict[int, int] = {}
        self._tables: dict[str, Array] = {}

    def __len__(self) -> int:
        """Count the words.

        RETURNS (int): the number of words.
        """
        return len(self._rows)

    @property
    def n_bytes(self) -> int:
        """RETURNS (int): size of the words' rows."""
        return sum(table[: len(self)].nbytes for table in self._tables.values())

    def look_up(
        self,
        keys: np.ndarray,
        version: tuple[Any, ...],
        compute: Callable[[np.ndarray], Mapping[str, Array]],
    ) -> tuple[Mapping[str, Array], np.ndarray]:
        """Return the rows of words, and compute missing ones.

        keys (ndarray): keys of words, which may be repeated, int (n_words,).
        version (tuple): objects that the rows depend on. If they differ from those of the last
            call, all rows are computed again. Integers are compared by value, others by identity.
        compute (Callable): computes the rows of distinct keys, ascending: arrays of (n_keys, ...)
            by name. Names, shapes and types must always be the same.
        RETURNS (tuple[Mapping[str, Array], ndarray]): tables of (n_rows, ...), and the row of each
            word in them, int64 (n_words,).
        """
        with self._locks.setdefault(os.getpid(), Lock()):
            if not _same(version, self._version):
                self.clear()
                self._version = version
            rows = self._find(keys)
            is_new = rows < 0
            if is_new.any():
                missing = np.unique(keys[is_new])
                new = compute(missing)
                capacity = self._capacity(new, len(missing))
                if len(self) + len(missing) > capacity and not is_new.all():
                    self.clear()
                    is_new[:] = True
                    missing = np.unique(keys)
                    new = compute(missing)
                place = np.searchsorted(missing, keys[is_new])
                if len(missing) > capacity:
                    return new, place
                if len(self) + len(missing) > capacity:
                    self.clear()
                rows[is_new] = len(self) + place
                self._add(missing, new, capacity)
            return dict(self._tables), rows

    def _find(self, keys: np.ndarray) -> np.ndarray:
        find = self._rows.get
        return np.array([find(key, -1) for key in keys.tolist()], dtype=np.int64)

    def _capacity(self, rows: Mapping[str, Array], n_rows: int) -> int:
        if self._tables:
            capacity: int = len(next(iter(self._tables.values())))  # all have the same length
            return capacity
        row_bytes: int = sum(table.nbytes for table in rows.values()) // n_rows
        return self.max_bytes // max(row_bytes, 1)

    def _add(self, keys: np.ndarray, new: Mapping[str, Array], capacity: int) -> None:
        begin, end = len(self), len(self) + len(keys)
        for name, values in new.items():
            if name not in self._tables:
                # At full size. On a CPU, the system allocates pages when they are written, and
                # tables that grow would fragment the heap each time the cache is cleared.
                self._tables[name] = _allocate((capacity, *values.shape[1:]), values)
            self._tables[name][begin:end] = values
        self._rows.update(zip(keys.tolist(), range(begin, end), strict=True))


def _allocate(shape: tuple[int, ...], like: Array) -> Array:
    if isinstance(like, np.ndarray):
        return np.empty(shape, like.dtype)
    torch = library_of(like)
    with torch.inference_mode(False):  # else only writable in inference mode
        return torch.empty(shape, dtype=like.dtype, device=like.device)


def _same(version: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    # Objects are compared by identity: two tables of vectors may be equal only at this time.
    return len(version) == len(other) and all(
        ours == theirs if isinstance(ours, int) else ours is theirs
        for ours, theirs in zip(version, other, strict=True)
    )


class TextCache:
    """Tensors of texts, cached over epochs, limited in size.

    When the cache is full, its texts stay and new ones are not added. Each epoch reads every text
    once, so replacing the oldest text would remove each text before it is read again.
    """

    def __init__(self, max_bytes: int) -> None:
        """Create an empty cache.

        max_bytes (int): maximum size of keys and tensors; 0 to cache nothing.
        """
        self.max_bytes = max_bytes
        self._locks: dict[int, Lock] = {}
        self._version: tuple[Any, ...] = ()
        self.clear()

    def clear(self) -> None:
        """Remove all texts."""
        self._kept: dict[bytes, Array] = {}
        self.n_bytes = 0

    def __len__(self) -> int:
        """Count the texts.

        RETURNS (int): the number of texts.
        """
        return len(self._kept)

    def look_up(
        self,
        keys: Sequence[bytes],
        version: tuple[Any, ...],
        compute: Callable[[list[int]], Sequence[Array]],
    ) -> list[Array]:
        """Return the tensors of texts, and compute missing ones once per distinct text.

        keys (Sequence[bytes]): the key of each text. Equal texts have equal keys.
        version (tuple): see `WordCache.look_up`.
        compute (Callable): computes a tensor for each of some positions in `keys`.
        RETURNS (list[Tensor]): a tensor for each key. Those from the cache are on the CPU.
        """
        with self._locks.setdefault(os.getpid(), Lock()):  # see `WordCache`
            if not _same(version, self._version):
                self.clear()
                self._version = version
            found = {key: self._kept[key] for key in keys if key in self._kept}
            missing = {key: place for place, key in enumerate(keys) if key not in found}
            if missing:
                found |= zip(missing, compute(list(missing.values())), strict=True)
            for key in missing:
                size = len(key) + found[key].nbytes
                if self.n_bytes + size <= self.max_bytes:
                    # A copy, since a view would keep the whole batch in memory.
                    self._kept[key] = found[key].to("cpu", copy=True)
                    self.n_bytes += size
            return [found[key] for key in keys]
