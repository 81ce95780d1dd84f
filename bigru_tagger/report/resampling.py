"""Compute intervals and p-values by resampling documents, from counts per document.

Sentences of one document share names and style, so they are not independent. Therefore whole
documents are drawn or swapped. A `Statistic` is computed from counts that are summed over
documents, such as gold, predicted and correct entities of each type, (..., n_types, 3).

The module does not use `scipy.stats`. Its `bootstrap` returns the same ends, but NaN for a type
that is missing from one resample. Its `permutation_test` takes 2 to 14 times as long, because it
permutes arrays where a matrix product with the differences per document is enough.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

import numpy as np

from ..errors import DataError

CONFIDENCE = 0.95
N_RESAMPLES = 2000
N_TRIALS = 10_000
_CELLS = 2**20  # weights that are in memory at the same time
_ROUNDING = 1e-12  # scores that differ by less are equal up to rounding

Statistic: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Maps counts summed over documents, float64 (n_samples, ...), to values (n_samples, ...)."""


def document_ends(
    doc_ends: Iterable[Sequence[int]], lengths: Sequence[int] | None = None
) -> list[int]:
    """Find the documents to resample: the smallest units that no Doc crosses.

    doc_ends (Iterable[Sequence[int]]): for each system, the number of tokens up to the end of each
        Doc. Systems may have read the same tokens in different Docs.
    lengths (Sequence[int] | None): the number of tokens of each document that the data mark; `None`
        to take each Doc as a document. Documents that share a Doc are joined.
    RETURNS (list[int]): the number of tokens up to the end of each document, rising.
    RAISES (ValueError): the documents and the Docs differ in their number of tokens.
    """
    ends = set.intersection(*map(set, doc_ends))
    if lengths is not None:
        marked, n_tokens = set(accumulate(lengths)), max(ends, default=0)
        if max(marked, default=0) != n_tokens:
            raise DataError(
                f"The documents have {max(marked, default=0)} tokens, but the gold data have "
                f"{n_tokens}: use the documents of the same data and split"
            )
        ends &= marked
    return sorted(ends)


def sum_documents(counts: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Add up the counts of the Docs of each document.

    counts (ndarray): counts per Doc, (n_docs, ...).
    documents (ndarray): the number of each Doc's document, from 0, int64 (n_docs,).
    RETURNS (ndarray): counts per document, (n_documents, ...).
    """
    sums = np.zeros((documents.max(initial=-1) + 1, *counts.shape[1:]), dtype=counts.dtype)
    np.add.at(sums, documents, counts)
    return sums


def prf(counts: np.ndarray) -> np.ndarray:
    """Compute precision, recall and F1, as `scoring.Counts` defines them.

    counts (ndarray): gold, predicted and correct entities, (..., 3).
    RETURNS (ndarray): precision, recall and F1, float64 (..., 3); 0 where the denominator is 0.
    """
    gold, predicted, correct = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    precision, recall = _quotient(correct, predicted), _quotient(correct, gold)
    f1 = _quotient(2 * precision * recall, precision + recall)
    return np.stack([precision, recall, f1], -1)


def per_type(counts: np.ndarray) -> np.ndarray:
    """Compute precision, recall and F1 of each type: a `Statistic`.

    counts (ndarray): gold, predicted and correct entities, (..., n_types, 3).
    RETURNS (ndarray): float64 (..., n_types, 3); NaN for a type without gold and predicted
        entities.
    """
    occurs = counts[..., :2].sum(-1, keepdims=True) > 0
    return np.where(occurs, prf(counts), np.nan)


def micro(counts: np.ndarray) -> np.ndarray:
    """Compute precision, recall and F1 over the entities of all types: a `Statistic`.

    counts (ndarray): gold, predicted and correct entities, (..., n_types, 3).
    RETURNS (ndarray): float64 (..., 3).
    """
    return prf(counts.sum(-2))


def macro(counts: np.ndarray) -> np.ndarray:
    """Average precision, recall and F1 over types: a `Statistic`.

    counts (ndarray): gold, predicted and correct entities, (..., n_types, 3).
    RETURNS (ndarray): float64 (..., 3): the mean over the types with gold or predicted entities, as
        in seqeval; 0 if there are none.
    """
    occurs = counts[..., :2].sum(-1, keepdims=True) > 0
    return _quotient((prf(counts) * occurs).sum(-2), occurs.sum(-2))


def bootstrap_interval(
    counts: np.ndarray,
    statistic: Statistic,
    *,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Compute the confidence interval of a statistic, by the percentile bootstrap over documents.

    Efron and Tibshirani 1993, chapter 13.

    counts (ndarray): counts per document, (n_docs, ...).
    statistic (Statistic): the function of the summed counts.
    confidence (float): the share of such intervals that should contain the true value.
    n_resamples (int): number of resamples. Each draws n_docs documents with replacement.
    seed (int): the seed of the random numbers. The same seed gives the same interval.
    RETURNS (ndarray): the low and the high end for each value of the statistic, float64 (2, ...).
        Resamples in which a value is NaN are left out of its interval.
    RAISES (ValueError): there are fewer than two documents.
    """
    _check_documents(counts)
    values = [statistic(sums) for sums in _resampled(counts, n_resamples, seed)]
    return _quantiles(np.concatenate(values), confidence)


def bootstrap_difference(
    counts: np.ndarray,
    other: np.ndarray,
    statistic: Statistic,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Compute the confidence interval of the difference of two systems, by the paired bootstrap.

    Both systems are scored on the same resamples.

    counts, other (ndarray): the counts of both systems per document, (n_docs, ...) each, with the
        same documents and types in the same order.
    statistic (Statistic): the function of the summed counts of a system.
    n_resamples, seed: see `bootstrap_interval`.
    RETURNS (ndarray): the percentile interval of `statistic(counts) - statistic(other)`, float64
        (2, ...).
    RAISES (ValueError): see `bootstrap_interval`; or the counts of the systems differ in shape.
    """
    _check_pair(counts, other)
    return bootstrap_interval(
        np.stack([counts, other], 1),
        lambda sums: statistic(sums[:, 0]) - statistic(sums[:, 1]),
        n_resamples=n_resamples,
        seed=seed,
    )


def randomization_test(
    counts: np.ndarray,
    other: np.ndarray,
    statistic: Statistic,
    *,
    n_trials: int = N_TRIALS,
    seed: int = 0,
) -> np.ndarray:
    """Test whether two systems differ, by paired approximate randomisation.

    The null hypothesis is that the predictions of both systems on a document are exchangeable. Each
    trial swaps them with probability 1/2, independently for each document. Noreen 1989, chapter 2;
    Yeh 2000, aclanthology.org/C00-2137.

    counts, other (ndarray): the counts of both systems per document, see `bootstrap_difference`.
    statistic (Statistic): the function of the summed counts of a system.
    n_trials (int): number of trials.
    seed (int): the seed of the random numbers. The same seed gives the same result.
    RETURNS (ndarray): the two-sided p for each value of the statistic, float64 (...): (1 + the
        number of trials whose absolute difference is at least the observed one) / (1 + n_trials).
        Trials whose difference is NaN are included in that number.
    RAISES (ValueError): see `bootstrap_difference`.
    """
    _check_pair(counts, other)
    counts, other = (np.asarray(side, dtype=np.float64) for side in (counts, other))
    total, below = (counts + other).sum(0), other.sum(0)
    difference = statistic((total - below)[None])[0] - statistic(below[None])[0]
    # Swapping a document with equal counts changes nothing.
    moved = counts - other
    moved = moved[moved.reshape(len(moved), -1).any(1)]
    generator = np.random.default_rng(seed)
    extreme = np.zeros(difference.shape, dtype=np.int64)
    for size in _chunks(n_trials, len(moved)):
        swapped = generator.integers(2, size=(size, len(moved))).astype(np.float64)
        to_other = below + np.tensordot(swapped, moved, 1)
        trial = statistic(total - to_other) - statistic(to_other)
        extreme += (~(np.abs(trial) < np.abs(difference) - _ROUNDING)).sum(0)
    return np.asarray((1 + extreme) / (1 + n_trials))


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    result = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def _check_documents(counts: np.ndarray) -> None:
    if len(counts) < 2:
        raise DataError(
            f"resampling needs at least 2 documents, and there are {len(counts)}: use more "
            "documents, for example by fewer sentences per Doc"
        )


def _check_pair(counts: np.ndarray, other: np.ndarray) -> None:
    if counts.shape != other.shape:
        raise ValueError(
            f"the counts of the two systems have the shapes {counts.shape} and {other.shape}: they "
            "must be of the same documents and types"
        )
    _check_documents(counts)


def _resampled(counts: np.ndarray, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    # Yields the summed counts of some resamples at a time, (n_samples, ...).
    n_docs = len(counts)
    floats = np.asarray(counts, dtype=np.float64)  # exact for counts, and multiplied by BLAS
    generator = np.random.default_rng(seed)
    for size in _chunks(n_resamples, n_docs):
        drawn = generator.integers(n_docs, size=(size, n_docs)) + np.arange(size)[:, None] * n_docs
        weights = np.bincount(drawn.ravel(), minlength=size * n_docs).reshape(size, n_docs)
        yield np.tensordot(weights.astype(np.float64), floats, 1)


def _chunks(n_samples: int, n_docs: int) -> Iterator[int]:
    size = max(1, _CELLS // max(1, n_docs))
    for start in range(0, n_samples, size):
        yield min(size, n_samples - start)


def _quantiles(values: np.ndarray, confidence: float) -> np.ndarray:
    tail = (1 - confidence) / 2
    known = ~np.isnan(values).all(0)
    ends = np.full((2, *values.shape[1:]), np.nan)
    ends[:, known] = np.nanquantile(values[:, known], [tail, 1 - tail], axis=0)
    return ends
