"""Tuning: find the `recall_bias` of each label and the `threshold` with the best F1."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from ..report.analysis import number_documents
from ..report.calibration import SpanOutcomes
from ..report.resampling import bootstrap_difference, micro, sum_documents
from ..report.slices import Interval
from ..scoring.scoring import Counts
from .settings_trial import SettingsTrial

BIASES = tuple(value / 2 for value in range(-6, 7))
"""The biases that are tried, in logits."""

THRESHOLDS = tuple(value / 20 for value in range(20))
_MOST_ROUNDS = 3  # over all labels
_FEWEST_SPANS = 100  # with fewer, the intervals of the bootstrap are too narrow


@dataclass(frozen=True)
class Tuned:
    """The settings with the best F1 on the data of the search.

    recall_bias (float | dict[str, float]): a number if it is the same for all labels.
    threshold (float): the lowest probability of a span.
    trials (int): number of biases that were tried.
    """

    recall_bias: float | dict[str, float]
    threshold: float
    trials: int

    @property
    def settings(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): the settings of the component, by name."""
        return {"recall_bias": self.recall_bias, "threshold": self.threshold}


@dataclass(frozen=True)
class Change:
    """The effect of changed settings on F1.

    before, after (Counts): gold, predicted and correct spans.
    interval (Interval): the 95 % interval of the difference of F1, by the paired bootstrap over
        documents; `None` if there are fewer than two documents.
    """

    before: Counts
    after: Counts
    interval: Interval

    @property
    def difference(self) -> float:
        """RETURNS (float): the difference of F1."""
        return self.after.f1 - self.before.f1


class Tuner(SettingsTrial):
    """Find the settings of a component with the best F1 on gold data.

    Scores are for the spans of this component alone, as in calibration: gold spans that it does not
    learn, and spans on tokens without a gold tag, are not counted.
    """

    def search(self, progress: Callable[[], Any] = lambda: None) -> Tuned:
        """Search the settings, one coordinate at a time.

        The first step tries each of `BIASES` for all labels together. Then each of them is tried
        for one label at a time, until no label changes or after three rounds. For each bias, the
        best of `THRESHOLDS` follows from the probabilities of the spans that are found. A change is
        only accepted if F1 is higher; among equals, the value closest to the previous one is kept.

        progress (Callable[[], Any]): called after each trial.
        RETURNS (Tuned): the best settings.
        RAISES (ValueError): the data have no gold spans for the component.
        """
        n_gold = sum(map(len, self.gold))
        if not n_gold:
            raise DataError(
                f"{self.pipe.name}: the data have no gold spans for this component, so there is no "
                "F1 to improve: check the split and the columns"
            )
        tried: dict[tuple[float, ...], tuple[float, float]] = {}
        labels = self.pipe.labels

        def evaluate(bias: tuple[float, ...]) -> tuple[float, float]:
            if bias not in tried:
                found = self.find(recall_bias=dict(zip(labels, bias, strict=True)))
                current = self.pipe.cfg["threshold"]
                tried[bias] = _best_threshold(self.judge(found), n_gold, current)
                progress()
            return tried[bias]

        best = start = _by_label(labels, self.pipe.cfg["recall_bias"])
        evaluate(start)
        for value in _nearest_first(0.0):
            best = max(best, (value,) * len(labels), key=lambda bias: evaluate(bias)[0])
        for _ in range(_MOST_ROUNDS):
            before = best
            for i, own in enumerate(best):
                for value in _nearest_first(own):
                    moved = (*best[:i], value, *best[i + 1 :])
                    best = max(best, moved, key=lambda bias: evaluate(bias)[0])
            if best == before:
                break
        recall_bias: float | dict[str, float] = dict(zip(labels, best, strict=True))
        if best == start:
            recall_bias = self.pipe.cfg["recall_bias"]
        elif len(set(best)) == 1:
            recall_bias = best[0]
        return Tuned(recall_bias, evaluate(best)[1], len(tried))

    def balance(self) -> float | None:
        """Find one bias for all labels that raises F1 by more than chance.

        RETURNS (float | None): the one of `BIASES` with the best F1. None if the 95 % interval of
            its difference from the current settings is not above 0, or with fewer than 100 gold
            spans. The interval does not count that the best of several was chosen.
        """
        if sum(map(len, self.gold)) < _FEWEST_SPANS:
            return None

        def f1(bias: float) -> float:
            counts = self._count({**self.pipe.cfg, "recall_bias": bias})
            return float(micro(counts.sum(0))[-1])

        best = max(_nearest_first(0.0), key=f1)
        interval = self.compare({"recall_bias": best}).interval
        return None if interval is None or interval[0] <= 0 else best

    def compare(self, settings: Mapping[str, Any], lengths: Sequence[int] | None = None) -> Change:
        """Compare the current settings of the component with others.

        settings (Mapping[str, Any]): the changed settings, such as `Tuned.settings`.
        lengths (Sequence[int] | None): number of tokens of each document, see `document_ends`.
        RETURNS (Change): the scores and the interval of their difference.
        """
        documents = number_documents(self.examples, lengths)
        before, after = (
            sum_documents(self._count(chosen), documents)
            for chosen in (self.pipe.cfg, {**self.pipe.cfg, **settings})
        )
        interval = None
        if len(before) > 1:
            low, high = bootstrap_difference(after, before, micro)[:, -1]
            interval = (float(low), float(high))
        totals = [Counts(*map(int, counts.sum((0, 1)))) for counts in (before, after)]
        return Change(totals[0], totals[1], interval)

    def _count(self, settings: Mapping[str, Any]) -> np.ndarray:
        # Gold, predicted and correct spans of each Doc, int64 (n_docs, 1, 3).
        rows = []
        found = self.find(recall_bias=settings["recall_bias"])
        for gold, spans in zip(self.gold, found, strict=True):
            kept = {span[:3] for span in spans if span.probability >= settings["threshold"]}
            rows.append((len(gold), len(kept), len(gold & kept)))
        return np.array(rows, dtype=np.int64).reshape(-1, 1, 3)


def _nearest_first(bias: float) -> list[float]:
    return sorted(BIASES, key=lambda value: abs(value - bias))


def _by_label(labels: Sequence[str], bias: float | Mapping[str, float]) -> tuple[float, ...]:
    values = bias if isinstance(bias, Mapping) else dict.fromkeys(labels, bias)
    return tuple(float(values.get(label, 0.0)) for label in labels)


def _best_threshold(outcomes: SpanOutcomes, n_gold: int, current: float) -> tuple[float, float]:
    """Find the threshold with the best F1.

    RETURNS (tuple[float, float]): the F1 and the threshold. Among equals, the current threshold, or
        else the lowest.
    """
    scored = [(outcomes.counts_at(t, n_gold).f1, t) for t in (current, *THRESHOLDS)]
    return max(scored, key=lambda pair: pair[0])
