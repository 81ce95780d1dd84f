"""Calibration: compare the probabilities of spans with precision, and fit a temperature."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from spacy.language import Language
from spacy.training import Example

from ..errors import ConfigError, DataError
from ..extras import require
from ..pipeline.spans import Entity, SpanTagger
from ..schemes import biluo_spans
from ..scoring.loading import run_before
from ..scoring.run import bare_copy
from ..scoring.scoring import Counts
from .matching import MatchedDoc

N_BINS = 15
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_TEMPERATURES = (0.05, 20.0)  # bounds of the search
_SMALLEST = 1e-12  # keeps the loss finite if a wrong span has probability 1


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


def confidence_attributes(nlp: Language) -> tuple[str, ...]:
    """List the attributes `span._.NAME` that hold the probability of an entity.

    nlp (Language): the pipeline.
    RETURNS (tuple[str, ...]): the values of the setting `confidence` of its components.
    """
    names = (getattr(pipe, "confidence", None) for _, pipe in nlp.pipeline)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def find_span_tagger(nlp: Language, name: str | None) -> tuple[str, SpanTagger]:
    """Find a component that finds spans.

    nlp (Language): the pipeline.
    name (str | None): its name. None for the only one, or for "ner" among several.
    RETURNS (tuple[str, SpanTagger]): its name, and the component.
    RAISES (ConfigError): there is no such component.
    """
    found = {name: pipe for name, pipe in nlp.pipeline if isinstance(pipe, SpanTagger)}
    if name is None:
        name = next(iter(found)) if len(found) == 1 else "ner"
    if name not in found:
        raise ConfigError(
            f"the pipeline has no component {name!r} of bigru_ner or bigru_chunker; it has "
            f"{', '.join(found) or 'none'}: set --component to one of them"
        )
    return name, found[name]


class SettingsTrial:
    """Find the spans of a component in gold data with any of its settings for prediction.

    The network runs once. The settings of the component do not change.
    """

    def __init__(self, nlp: Language, name: str | None, examples: Iterable[Example]) -> None:
        """Run the pipeline up to the component.

        nlp (Language): the pipeline.
        name (str | None): a component that finds spans, see `find_span_tagger`.
        examples (Iterable[Example]): the gold data. The pipeline gets the sentence starts of
            `predicted`, and no gold annotation.
        RAISES (ConfigError): there is no such component.
        """
        name, pipe = find_span_tagger(nlp, name)
        self.pipe = pipe
        self.examples = list(examples)
        self._docs = run_before(nlp, name, [bare_copy(nlp, eg) for eg in self.examples])
        self._logits = np.concatenate(
            [np.zeros((0, len(pipe.tags)), dtype=np.float32)]
            + [
                logits
                for start in range(0, len(self._docs), nlp.batch_size)
                for logits in pipe.logits(self._docs[start : start + nlp.batch_size])
            ]
        )
        copies = zip(self._docs, self.examples, strict=True)
        self._tags = [pipe.gold_tags(Example(doc, eg.reference)) for doc, eg in copies]
        self.gold = [
            {(start, end, label) for label, start, end in biluo_spans(tags)} for tags in self._tags
        ]

    def find(self, **settings: Any) -> list[list[Entity]]:
        """Find spans with changed settings.

        **settings (Any): settings of the component, such as `recall_bias` and `temperature`.
        RETURNS (list[list[Entity]]): the spans of each Doc with their probabilities, without a
            threshold, and without those on tokens whose gold tag is not known.
        """
        before = dict(self.pipe.cfg)
        try:
            self.pipe.cfg.update(settings)
            predicted = self.pipe.find_spans(self._docs, self._logits, with_probabilities=True)
        finally:
            self.pipe.cfg.clear()
            self.pipe.cfg.update(before)
        return [
            [span for span in spans if None not in tags[span.start : span.end]]
            for spans, tags in zip(predicted, self._tags, strict=True)
        ]

    def judge(self, found: Sequence[Sequence[Entity]]) -> SpanOutcomes:
        """Compare spans with the gold spans.

        found (Sequence[Sequence[Entity]]): the spans of each Doc, from `find`.
        RETURNS (SpanOutcomes): their probabilities, and whether they are correct.
        """
        outcomes = [
            (span.probability, span[:3] in gold)
            for spans, gold in zip(found, self.gold, strict=True)
            for span in spans
        ]
        probability, correct = zip(*outcomes, strict=True) if outcomes else ((), ())
        return SpanOutcomes(np.array(probability, dtype=float), np.array(correct, dtype=bool))


class Calibrator(SettingsTrial):
    """Fit the temperature of a component on gold data."""

    def outcomes(self, temperature: float) -> SpanOutcomes:
        """Find spans, and compare them with the gold spans.

        temperature (float): the temperature of the probabilities.
        RETURNS (SpanOutcomes): the spans, except those on tokens whose gold tag is not known.
        """
        return self.judge(self.find(temperature=temperature))

    def fit(self) -> float:
        """Fit the temperature, by temperature scaling (Guo et al. 2017, arXiv 1706.04599).

        RETURNS (float): the temperature with the lowest mean binary cross-entropy between the
            probabilities of the spans and whether they are correct.
        RAISES (ValueError): no spans were found, or all of them are correct, or none of them.
        """
        correct = self.outcomes(1.0).correct
        if len(correct) == 0 or correct.all() or not correct.any():
            raise DataError(
                f"{self.pipe.name}: {correct.sum()} of the {len(correct)} spans that were found "
                "are correct. Calibration needs correct and wrong spans: use data with annotation "
                "for this component that the pipeline was not trained on"
            )
        bounds = (math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1]))
        best = require("scipy.optimize", "calibration").minimize_scalar(
            lambda value: _cross_entropy(self.outcomes(math.exp(value))),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-3},
        )
        return float(math.exp(best.x))


def _cross_entropy(outcomes: SpanOutcomes) -> float:
    of_truth = np.where(outcomes.correct, outcomes.probability, 1.0 - outcomes.probability)
    return -float(np.log(np.maximum(of_truth, _SMALLEST)).mean())
