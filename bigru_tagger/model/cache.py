"""Bounded caches for the representations of words and texts."""

import os
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor


class WordCache:
    """Tables with a row for each word that came up, bounded in size.

    When a batch would not fit in any more, all rows go: the frequent words are back at once, and
    nothing has to be known about how often each was asked for. Tables that were handed out are
    never written to where their rows are in use, so threads may share a cache. So may processes
    that are forked from this one: each has a lock of its own, since nobody there releases one that
    another thread held at the fork.
    """

    def __init__(self, max_bytes: int) -> None:
        """Hold no word.

        max_bytes (int): size that the tables may grow to.
        """
        self.max_bytes = max_bytes
        self._locks: dict[int, Lock] = {}
        self._version: tuple[Any, ...] = ()
        self.clear()

    def clear(self) -> None:
        """Forget all words."""
        self._rows: dict[int, int] = {}
        self._tables: dict[str, Tensor] = {}

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
        compute: Callable[[np.ndarray], Mapping[str, Tensor]],
    ) -> tuple[Mapping[str, Tensor], np.ndarray]:
        """Give the rows of words, and compute those that are missing.

        keys (ndarray): keys of distinct words, int (n_words,).
        version (Tuple): objects that the rows depend on; unless each is the one of the last call,
            all rows are computed anew.
        compute (Callable): from positions in `keys` to the rows of these words, tensors of
            (n_positions, ...) by name, always of the same names, shapes and types.
        RETURNS (tuple[Mapping[str, Tensor], ndarray]): tables of (n_rows, ...), and each word's row
            in them, int64 (n_words,).
        """
        with self._locks.setdefault(os.getpid(), Lock()):
            if not _same(version, self._version):
                self.clear()
                self._version = version
            rows = np.array([self._rows.get(key, -1) for key in keys.tolist()], dtype=np.int64)
            missing = np.flatnonzero(rows < 0)
            if len(missing):
                new = compute(missing)
                capacity = self._capacity(new, len(missing))
                if len(self) + len(missing) > capacity and len(missing) < len(keys):
                    self.clear()
                    missing = np.arange(len(keys))
                    new = compute(missing)
                if len(missing) > capacity:
                    return new, missing
                if len(self) + len(missing) > capacity:
                    self.clear()
                rows[missing] = self._add(keys[missing], new, capacity)
            return dict(self._tables), rows

    def _capacity(self, rows: Mapping[str, Tensor], n_rows: int) -> int:
        if self._tables:
            return min(map(len, self._tables.values()))
        row_bytes = sum(table.nbytes for table in rows.values()) // n_rows
        return self.max_bytes // max(row_bytes, 1)

    def _add(self, keys: np.ndarray, new: Mapping[str, Tensor], capacity: int) -> np.ndarray:
        begin, end = len(self), len(self) + len(keys)
        for name, values in new.items():
            if name not in self._tables:
                # At its full size: the system gives memory to rows only when they are written,
                # and tables that grew would leave holes in the heap, more with each new beginning.
                shape = (capacity, *values.shape[1:])
                with torch.inference_mode(False):  # or it could be written to in that mode alone
                    table = torch.empty(shape, dtype=values.dtype, device=values.device)
                self._tables[name] = table
            self._tables[name][begin:end] = values
        rows = np.arange(begin, end)
        self._rows.update(zip(keys.tolist(), rows.tolist(), strict=True))
        return rows


def _same(version: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    # Numbers are compared by value, all else by identity: two tables of vectors may be equal now.
    return len(version) == len(other) and all(
        ours == theirs if isinstance(ours, int) else ours is theirs
        for ours, theirs in zip(version, other, strict=True)
    )


class TextCache:
    """Tensors of texts, kept over epochs, bounded in size.

    When it is full, what is there stays: an epoch asks for every text once, so that to drop the
    oldest for the newest would drop each before it is asked for again.
    """

    def __init__(self, max_bytes: int) -> None:
        """Hold no text.

        max_bytes (int): size that all that is kept may have; 0 to keep nothing.
        """
        self.max_bytes = max_bytes
        self._locks: dict[int, Lock] = {}
        self._version: tuple[Any, ...] = ()
        self.clear()

    def clear(self) -> None:
        """Forget all texts."""
        self._kept: dict[bytes, Tensor] = {}
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
        compute: Callable[[list[int]], Sequence[Tensor]],
    ) -> list[Tensor]:
        """Give what belongs to texts, and compute what is missing, once per distinct text.

        keys (Sequence[bytes]): what makes two texts the same.
        version (Tuple): see `WordCache.look_up`.
        compute (Callable): from positions in `keys` to a tensor for each.
        RETURNS (list[Tensor]): a tensor for each key; those that were kept are on the CPU.
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
                    # A copy: a part would keep all of the tensor that it is a part of.
                    self._kept[key] = found[key].to("cpu", copy=True)
                    self.n_bytes += size
            return [found[key] for key in keys]
