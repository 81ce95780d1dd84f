"""Transitions between tags, and functions that all algorithms on tag sequences share.

Logits are NumPy arrays, or torch tensors on any device that supports float64. Lengths and
transitions are always NumPy arrays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from ..lazy import cached_property
from ..tag_arrays import TagParts

Array: TypeAlias = Any
"""A NumPy array or a torch tensor."""

# Cells (tokens times tags) that are processed at once, so that memory does not grow with the batch.
# More on a GPU, where few cells take as long as many.
CELLS = 1 << 20
_GPU_CELLS = 1 << 23


def library_of(array: Array) -> Any:
    """Return the library of an array.

    array (Array): an array.
    RETURNS (module): NumPy, or torch for tensors.
    """
    if isinstance(array, np.ndarray):
        return np
    import torch  # noqa: PLC0415 - already imported if there are tensors

    return torch


def array_like(values: np.ndarray, array: Array) -> Array:
    """Convert values to the library and device of an array.

    values (ndarray): the values.
    array (Array): an array.
    RETURNS (Array): the values, with an unchanged dtype.
    """
    if isinstance(array, np.ndarray):
        return values
    return library_of(array).from_numpy(np.ascontiguousarray(values)).to(array.device)


def to_numpy(array: Array) -> np.ndarray:
    """Convert an array to NumPy.

    array (Array): an array.
    RETURNS (ndarray): its values.
    """
    return (
        array if isinstance(array, np.ndarray) else cast(np.ndarray, array.detach().cpu().numpy())
    )


def to_double(array: Array) -> Array:
    """Convert an array to double precision.

    array (Array): an array.
    RETURNS (Array): float64, in the same library.
    """
    return array.astype(np.float64) if isinstance(array, np.ndarray) else array.double()


@dataclass(frozen=True, eq=False)
class Transitions:
    """Log scores of transitions between tags. Minus infinity forbids a transition.

    between (ndarray): score of tag j directly after tag i, float64 (n_tags, n_tags).
    first (ndarray): score of a sequence's first tag, float64 (n_tags,).
    last (ndarray): score of a sequence's last tag, float64 (n_tags,).
    """

    between: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def free(cls, n_tags: int) -> "Transitions":
        """Allow all tag sequences, for tags that do not depend on each other.

        n_tags (int): number of tags.
        RETURNS (Transitions): zeros.
        """
        return cls(np.zeros((n_tags, n_tags)), np.zeros(n_tags), np.zeros(n_tags))

    def scaled(self, factor: float) -> "Transitions":
        """Multiply all scores.

        factor (float): a positive factor. Forbidden transitions stay forbidden.
        RETURNS (Transitions): the products.
        """
        if self.only_forbids:
            return self
        return Transitions(self.between * factor, self.first * factor, self.last * factor)

    @classmethod
    def biluo(cls, tags: Sequence[str]) -> "Transitions":
        """Allow exactly the valid sequences of the BILUO scheme (IOBES with other letters).

        tags (Sequence[str]): O, and for each label B-label, I-label, L-label and U-label.
        RETURNS (Transitions): zero for valid transitions, minus infinity for the others.
        """
        parts = TagParts.of(tags)
        same = parts.label[:, None] == parts.label
        valid = np.where(parts.opens[:, None], parts.continues & same, ~parts.continues)
        tables = (valid, ~parts.continues, ~parts.opens)
        return cls(*(np.where(allowed, 0.0, -np.inf) for allowed in tables))

    @cached_property
    def only_forbids(self) -> bool:
        """Whether all scores are zero or minus infinity."""
        tables = (self.between, self.first, self.last)
        return not any((table[np.isfinite(table)] != 0.0).any() for table in tables)

    @cached_property
    def forbidden(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which scores of `between`, `first` and `last` are negative.

        If transitions only forbid, these are the forbidden ones.
        """
        return self.between < 0.0, self.first < 0.0, self.last < 0.0

    @cached_property
    def exponentials(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The exponentiated scores of `between`, of its transpose, `first` and `last`."""
        between = np.exp(self.between)
        return between, np.ascontiguousarray(between.T), np.exp(self.first), np.exp(self.last)

    @cached_property
    def into(self) -> "TagSets":
        """The tags that may precede each tag, for transitions that only forbid."""
        return TagSets(np.isfinite(self.between).T)

    @cached_property
    def onward(self) -> "TagSets":
        """The tags that may follow each tag, for transitions that only forbid."""
        return TagSets(np.isfinite(self.between))

    @cached_property
    def replaceable(self) -> tuple[np.ndarray, "TagSets", "TagSets"]:
        """Which tags are independent, and which tags can replace others next to them, see `_cut`.

        A tag is independent if it may follow exactly the tags that may end a sequence, and precede
        exactly those that may begin one, like O and U in the BILUO scheme. Three values: whether
        each tag is independent, bool (n_tags,); for each tag, the tags that can replace it before
        an independent tag; and for each tag, the tags that can replace it after one.
        """
        valid, first, last = (np.isfinite(table) for table in (self.between, self.first, self.last))
        independent = first & last & (first == valid).all(1) & (last == valid.T).all(1)
        before = np.concatenate([valid, first[None]])  # predecessors of each tag, (from, to)
        after = np.concatenate([valid.T, last[None]])  # successors of each tag, (to, from)
        return independent, TagSets(_covering(before, last)), TagSets(_covering(after, first))


def _covering(table: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    # For each column of a table: the allowed columns that include all entries of this column,
    # bool (n_columns, n_columns). There are few distinct columns.
    columns, kind = np.unique(table, axis=1, return_inverse=True)
    covers = np.array([~(column[:, None] & ~columns).any(0) for column in columns.T])
    kind = kind.reshape(-1)
    return cast(np.ndarray, covers[np.ix_(kind, kind)] & allowed)


class TagSets:
    """A set of tags for each tag, such as its valid predecessors. Equal sets are stored once.

    Sums over equal sets are computed once. In the BILUO scheme, all distinct sets together have as
    many members as there are tags.

    kind (ndarray): index of each tag's set among the distinct sets, int64 (n_tags,).
    groups (list[ndarray]): the members of the sets of each size, int64 (n_sets, size); sets without
        members come last.
    """

    def __init__(self, table: np.ndarray) -> None:
        """Find the distinct sets.

        table (ndarray): the members of each tag's set, bool (n_tags, n_members).
        """
        sets, kind = np.unique(table, axis=0, return_inverse=True)
        sizes = sets.sum(1)
        sizes = np.where(sizes, sizes, sizes.max() + 1)
        order = np.argsort(sizes, kind="stable")
        self.kind = np.argsort(order)[kind.reshape(-1)]
        self.has_empty = not sets.any(1).all()
        self.groups = [
            np.nonzero(sets[sizes == size])[1].reshape(-1, size)
            for size in np.unique(sizes[sets.any(1)])
        ]

    def reduce(self, values: Array, how: str, empty: float) -> Array:
        """Sum values over the sets, or take their maximum.

        values (Array): (n_rows, n_tags).
        how (str): "sum" or "amax".
        empty (float): the result for a set without members.
        RETURNS (Array): for each tag, (n_rows, n_tags).
        """
        library = library_of(values)
        found = [
            getattr(library, how)(
                values[:, array_like(members.reshape(-1), values)].reshape(-1, *members.shape), 2
            )
            for members in self.groups
        ]
        if self.has_empty:
            found.append(library.full_like(values[:, :1], empty))
        return library.concatenate(found, 1)[:, array_like(self.kind, values)]


def chunks(lengths: np.ndarray, logits: Array) -> Iterator[tuple[slice, slice]]:
    """Divide a batch into chunks of sequences, so that memory does not grow with the batch.

    lengths (ndarray): tokens of each sequence, int64 (n_sequences,).
    logits (Array): (n_tokens, n_tags).
    YIELDS (tuple[slice, slice]): the sequences of a chunk, at least one, and their tokens.
    """
    cells = CELLS if isinstance(logits, np.ndarray) else _GPU_CELLS
    n_tokens = max(cells // logits.shape[1], 1)
    bounds = np.append(0, lengths.cumsum())
    begin = 0
    while begin < len(lengths):
        end = int(np.searchsorted(bounds, bounds[begin] + n_tokens, side="right")) - 1
        end = max(end, begin + 1)
        yield slice(begin, end), slice(int(bounds[begin]), int(bounds[end]))
        begin = end
