"""Calibration: compare the probabilities of spans with precision."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..scoring.scoring import Counts
from .matching import MatchedDoc

N_BINS = 15
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class SpanOutcomes(NamedTuple):
    """Predicted spans: their probabilities, and whether they are correct.

    probability (ndarray): the probability of each span, float64 (n_spans,).
    correct (ndarray): whether a gold span has the same boundaries and label, bool (n_spans,).
    """

    probability: np.ndarray
    correct: np.ndarray

    def counts_at(self, threshold: float, n_gold: int) -> Counts:
        """Count the spans whose probability is at least a threshold, given all gold spans."""
        kept = self.probability >= threshold
        return Counts(n_gold, int(kept.sum()), int(self.correct[kept].sum()))


@dataclass(frozen=True)
class Bin:
    """Spans of about the same probability.

    count (int): number of spans.
    probability (float): their mean probability.
    precision (float): the share of them that is correct.
    """

    count: int
    probability: float
    precision: float


def reliability(outcomes: SpanOutcomes, n_bins: int = N_BINS) -> list[Bin]:
    """Sort spans into bins of equal width, for a reliability diagram.

    outcomes (SpanOutcomes): the spans.
    n_bins (int): number of bins from 0 to 1. Empty bins are left out.
    RETURNS (list[Bin]): the bins, by rising probability.
    """
    numbers = np.minimum((outcomes.probability * n_bins).astype(np.int64), n_bins - 1)
    return [
        Bin(
            int((numbers == number).sum()),
            float(outcomes.probability[numbers == number].mean()),
            float(outcomes.correct[numbers == number].mean()),
        )
        for number in np.unique(numbers)
    ]


def expected_calibration_error(outcomes: SpanOutcomes, n_bins: int = N_BINS) -> float:
    """Compute the expected calibration error.

    outcomes (SpanOutcomes): at least one span.
    n_bins (int): see `reliability`.
    RETURNS (float): the mean over spans of |precision - mean probability| of their bin, from 0 to
        1. Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599, equation 3.
    RAISES (ValueError): there are no spans.
    """
    if not len(outcomes.probability):
        raise DataError("no spans were found, so there is no calibration error")
    bins = reliability(outcomes, n_bins)
    return sum(b.count * abs(b.precision - b.probability) for b in bins) / len(outcomes.correct)


@dataclass(frozen=True)
class Threshold:
    """Scores of the predictions whose probability is at least a threshold.

    threshold (float): the lowest probability, from 0 to 1.
    coverage (float): the share of predictions that is kept, from 0 to 1.
    counts (Counts): gold entities, these predictions, and the correct ones among them.
    """

    threshold: float
    coverage: float
    counts: Counts


@dataclass(frozen=True)
class Confidences:
    """Calibration of the predictions of an evaluation.

    outcomes (SpanOutcomes): the predictions that have a probability.
    unknown (int): number of predictions without a probability.
    error (float): the expected calibration error, see `expected_calibration_error`.
    bins (list[Bin]): predictions of about the same probability.
    thresholds (list[Threshold]): the scores at each of THRESHOLDS.
    """

    outcomes: SpanOutcomes
    unknown: int
    error: float
    bins: list[Bin]
    thresholds: list[Threshold]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON-serialisable values, without single predictions."""
        return {
            "unknown": self.unknown,
            "expected_calibration_error": self.error,
            "bins": [asdict(part) for part in self.bins],
            "thresholds": [asdict(row) for row in self.thresholds],
        }


def measure_confidences(docs: Iterable[MatchedDoc]) -> Confidences | None:
    """Compare the probabilities of predictions with the gold data.

    docs (Iterable[MatchedDoc]): the Docs.
    RETURNS (Confidences | None): the calibration; `None` where no prediction has a probability.
    """
    matches = [match for doc in docs for match in doc.matches]
    known = [
        (match.predicted.probability, match.kind == "correct")
        for match in matches
        if match.predicted is not None and match.predicted.probability is not None
    ]
    if not known:
        return None
    probability, correct = (np.array(column) for column in zip(*known, strict=True))
    outcomes = SpanOutcomes(probability, correct)
    n_gold = sum(match.gold is not None for match in matches)
    thresholds = []
    for threshold in THRESHOLDS:
        counts = outcomes.counts_at(threshold, n_gold)
        thresholds.append(Threshold(threshold, counts.predicted / len(known), counts))
    return Confidences(
        outcomes=outcomes,
        unknown=sum(match.predicted is not None for match in matches) - len(known),
        error=expected_calibration_error(outcomes),
        bins=reliability(outcomes),
        thresholds=thresholds,
    )


def coverage_curve(confidences: Confidences) -> tuple[np.ndarray, np.ndarray]:
    """Compute precision by coverage, at each distinct probability.

    confidences (Confidences): the predictions.
    RETURNS (tuple[ndarray, ndarray]): the share of predictions that is kept, rising to 1, and their
        precision, float64 (n_thresholds,) each.
    """
    probability, correct = confidences.outcomes
    order = np.argsort(-probability, kind="stable")
    kept = np.arange(1, len(order) + 1)
    precision = np.cumsum(correct[order]) / kept
    # Predictions of the same probability are kept or dropped together.
    last = np.append(np.diff(probability[order]) != 0, True)
    return kept[last] / len(order), precision[last]
