"""Intervals and tests by resampling documents, from counts per document, in NumPy alone.

Sentences of one document share names and style, so they are not independent: whole documents are
drawn, and swapped. All that is computed here is a function of counts that are summed over the
documents, a `Statistic`: of (..., n_types, 3) counts of gold, predicted and correct entities, or of
whatever counts its caller has. What `prf` makes of counts is what `scoring.Counts` makes of them.

It is not done by `scipy.stats`. Its `bootstrap` gives the same ends, but NaN for a type that is
missing from one resample. Its `permutation_test` takes two to fourteen times as long, since it
swaps labels in arrays where a product with the differences of the documents does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

import numpy as np

CONFIDENCE = 0.95
N_RESAMPLES = 2000
N_TRIALS = 10_000
_CELLS = 2**20  # weights that are in memory at once
_ROUNDING = 1e-12  # differences of scores that are the same but for the order of operations

Statistic: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""From counts summed over documents, float64 (n_samples, ...), to values (n_samples, ...)."""


def document_ends(
    doc_ends: Iterable[Sequence[int]], lengths: Sequence[int] | None = None
) -> list[int]:
    """Find the documents to resample: the smallest that no Doc runs across the end of.

    doc_ends (Iterable[Sequence[int]]): of each system, which may have read the same tokens in Docs
        of its own, how many tokens there are up to the end of each Doc.
    lengths (Sequence[int] | None): the tokens of each document, as the data tell; `None` takes the
        Docs for documents. Documents that share a Doc are one.
    RETURNS (list[int]): how many tokens there are up to the end of each document, rising.
    RAISES (ValueError): the documents have not as many tokens as the Docs.
    """
    ends = set.intersection(*map(set, doc_ends))
    if lengths is not None:
        told, n_tokens = set(accumulate(lengths)), max(ends, default=0)
        if max(told, default=0) != n_tokens:
            raise ValueError(
                f"The documents have {max(told, default=0)} tokens together, the gold data "
                f"{n_tokens}: both have to be of the same data and split"
            )
        ends &= told
    return sorted(ends)


def sum_documents(counts: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Add up the counts of the Docs of each document.

    counts (ndarray): counts per Doc, (n_docs, ...).
    documents (ndarray): the number of the document that each Doc is of, from 0, (n_docs,).
    RETURNS (ndarray): counts per document, (n_documents, ...).
    """
    sums = np.zeros((documents.max(initial=-1) + 1, *counts.shape[1:]), dtype=counts.dtype)
    np.add.at(sums, documents, counts)
    return sums


def prf(counts: np.ndarray) -> np.ndarray:
    """Compute precision, recall and F1, by the definitions of `scoring.Counts`.

    counts (ndarray): gold, predicted and correct entities, (..., 3).
    RETURNS (ndarray): precision, recall and F1, float64 (..., 3); 0 where there is nothing to
        divide by.
    """
    gold, predicted, correct = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    precision, recall = _quotient(correct, predicted), _quotient(correct, gold)
    f1 = _quotient(2 * precision * recall, precision + recall)
    return np.stack([precision, recall, f1], -1)


def per_type(counts: np.ndarray) -> np.ndarray:
    """Compute precision, recall and F1 of each type: a `Statistic`.

    counts (ndarray): (..., n_types, 3).
    RETURNS (ndarray): float64 (..., n_types, 3), NaN for a type that occurs on neither side.
    """
    occurs = counts[..., :2].sum(-1, keepdims=True) > 0
    return np.where(occurs, prf(counts), np.nan)


def micro(counts: np.ndarray) -> np.ndarray:
    """Compute precision, recall and F1 over the entities of all types: a `Statistic`.

    counts (ndarray): (..., n_types, 3).
    RETURNS (ndarray): float64 (..., 3).
    """
    return prf(counts.sum(-2))


def macro(counts: np.ndarray) -> np.ndarray:
    """Average precision, recall and F1 over types: a `Statistic`.

    counts (ndarray): (..., n_types, 3).
    RETURNS (ndarray): float64 (..., 3): the mean over the types that occur on either side, as of
        seqeval on such data; 0 where none does.
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
    """Tell how far a statistic could be off, if other documents of the same kind had been scored.

    counts (ndarray): counts per document, (n_docs, ...).
    statistic (Statistic): what to compute of their sums.
    confidence (float): how often, of all such intervals, the true value should lie inside.
    n_resamples (int): how often to draw as many documents as there are, with replacement.
    seed (int): of the random numbers; the same seed gives the same interval.
    RETURNS (ndarray): the percentile interval (Efron and Tibshirani 1993, chapter 13), (2, ...):
        its low and its high end for each value of the statistic. Resamples in which a value is
        not defined, NaN, have no part in its interval.
    RAISES (ValueError): there are fewer than two documents, so nothing is known of how they vary.
    """
    _check_documents(counts)
    values = [statistic(sums) for sums in _resampled(counts, n_resamples, seed)]
    return _quantiles(np.concatenate(values), confidence)


def bootstrap_difference(
    counts: np.ndarray,
    other: np.ndarray,
    statistic: Statistic,
    *,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Tell how far the difference of two systems could be off: both score the same resamples.

    counts, other (ndarray): counts of both systems per document, (n_docs, ...) each, of the same
        documents and types in the same order.
    statistic (Statistic): what to compute of the sums of each.
    confidence, n_resamples, seed: see `bootstrap_interval`.
    RETURNS (ndarray): the percentile interval of `statistic(counts) - statistic(other)`, (2, ...).
    RAISES (ValueError): see `bootstrap_interval`; or the systems' counts differ in shape.
    """
    _check_pair(counts, other)
    both = np.stack([counts, other], 1)
    values = [
        statistic(sums[:, 0]) - statistic(sums[:, 1])
        for sums in _resampled(both, n_resamples, seed)
    ]
    return _quantiles(np.concatenate(values), confidence)


def randomization_test(
    counts: np.ndarray,
    other: np.ndarray,
    statistic: Statistic,
    *,
    n_trials: int = N_TRIALS,
    seed: int = 0,
) -> np.ndarray:
    """Test whether two systems differ, by paired approximate randomisation.

    If they do not, it does not matter which of both said what of a document. So in each trial, the
    systems swap what they said of each document with a chance of one half. Noreen 1989, chapter 2;
    Yeh 2000, aclanthology.org/C00-2137.

    counts, other (ndarray): counts of both systems per document, see `bootstrap_difference`.
    statistic (Statistic): what to compute of the sums of each.
    n_trials (int): how often to swap.
    seed (int): of the random numbers; the same seed gives the same result.
    RETURNS (ndarray): for each value of the statistic the two-sided p, (1 + the number of trials in
        which the absolute difference is at least the observed one) / (1 + n_trials). A trial in
        which it is not defined, NaN, counts as such a trial.
    RAISES (ValueError): see `bootstrap_difference`.
    """
    _check_pair(counts, other)
    counts, other = (np.asarray(side, dtype=np.float64) for side in (counts, other))
    total, below = (counts + other).sum(0), other.sum(0)
    difference = statistic((total - below)[None])[0] - statistic(below[None])[0]
    # To swap a document of which both said the same changes nothing.
    moved = counts - other
    moved = moved[moved.reshape(len(moved), -1).any(1)]
    generator = np.random.default_rng(seed)
    extreme = np.zeros(difference.shape, dtype=np.int64)
    for size in _chunks(n_trials, len(moved)):
        swapped = generator.integers(2, size=(size, len(moved))).astype(np.float64)
        to_other = below + np.tensordot(swapped, moved, 1)
        found = statistic(total - to_other) - statistic(to_other)
        extreme += (~(np.abs(found) < np.abs(difference) - _ROUNDING)).sum(0)
    return np.asarray((1 + extreme) / (1 + n_trials))


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    result = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def _check_documents(counts: np.ndarray) -> None:
    if len(counts) < 2:
        raise ValueError(
            f"there is nothing to resample with {len(counts)} documents: give two and more, say by "
            "fewer sentences per document"
        )


def _check_pair(counts: np.ndarray, other: np.ndarray) -> None:
    if counts.shape != other.shape:
        raise ValueError(
            f"counts of two systems have the shapes {counts.shape} and {other.shape}: they have to "
            "be of the same documents and types"
        )
    _check_documents(counts)


def _resampled(counts: np.ndarray, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    # The sums of some resamples at a time, (n_samples, ...).
    n_docs = len(counts)
    floats = np.asarray(counts, dtype=np.float64)  # exact, and what BLAS multiplies
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
