"""What the probabilities of predictions are worth: right on average, and in their order."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from spacy.language import Language

from ..scoring.scoring import Counts
from .calibration import Bin, Judged, expected_calibration_error, reliability
from .matching import MatchedDoc

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Threshold:
    """What is left of the predictions from a probability on.

    threshold (float): the probability.
    coverage (float): share of the predictions that is left.
    counts (Counts): gold entities, predictions that are left, correct ones among them.
    """

    threshold: float
    coverage: float
    counts: Counts


@dataclass(frozen=True)
class Confidences:
    """What the probabilities of predictions are worth.

    judged (Judged): the predictions that have one.
    unknown (int): how many have none.
    error (float): the expected calibration error, see `calibration.expected_calibration_error`.
    bins (list[Bin]): predictions of about the same probability.
    thresholds (list[Threshold]): what would be left, at THRESHOLDS.
    """

    judged: Judged
    unknown: int
    error: float
    bins: list[Bin]
    thresholds: list[Threshold]

    def to_json(self) -> dict[str, Any]:
        """Give the numbers, but for those of single predictions."""
        return {
            "unknown": self.unknown,
            "expected_calibration_error": self.error,
            "bins": [asdict(own) for own in self.bins],
            "thresholds": [asdict(own) for own in self.thresholds],
        }


def judge_confidences(docs: Iterable[MatchedDoc]) -> Confidences | None:
    """Compare the probabilities of predictions with what is right.

    docs (Iterable[MatchedDoc]): the documents.
    RETURNS (Confidences | None): what they are worth; `None` where no prediction has one.
    """
    matches = [match for doc in docs for match in doc.matches]
    told = [
        (match.predicted.probability, match.kind == "correct")
        for match in matches
        if match.predicted is not None and match.predicted.probability is not None
    ]
    if not told:
        return None
    probability, correct = (np.array(column) for column in zip(*told, strict=True))
    judged = Judged(probability, correct)
    n_gold = sum(match.gold is not None for match in matches)
    thresholds = []
    for threshold in THRESHOLDS:
        kept = probability >= threshold
        counts = Counts(n_gold, int(kept.sum()), int(correct[kept].sum()))
        thresholds.append(Threshold(threshold, counts.predicted / len(told), counts))
    return Confidences(
        judged=judged,
        unknown=sum(match.predicted is not None for match in matches) - len(told),
        error=expected_calibration_error(judged),
        bins=reliability(judged),
        thresholds=thresholds,
    )


def coverage_curve(confidences: Confidences) -> tuple[np.ndarray, np.ndarray]:
    """Compute precision against coverage, at each threshold that makes a difference.

    confidences (Confidences): the predictions.
    RETURNS (tuple[ndarray, ndarray]): the share of predictions that is kept, rising to 1, and their
        precision, (n_thresholds,) each.
    """
    probability, correct = confidences.judged
    order = np.argsort(-probability, kind="stable")
    kept = np.arange(1, len(order) + 1)
    precision = np.cumsum(correct[order]) / kept
    # Predictions of the same probability are kept or dropped together.
    last = np.append(np.diff(probability[order]) != 0, True)
    return kept[last] / len(order), precision[last]


def confidence_attributes(nlp: Language) -> tuple[str, ...]:
    """List the attributes `span._.NAME` in which components may tell an entity's probability.

    nlp (Language): the pipeline.
    RETURNS (tuple[str, ...]): the names that its components are set to.
    """
    names = (getattr(pipe, "confidence", None) for _, pipe in nlp.pipeline)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))
