"""Calibration: fit the temperature of probabilities."""

import math

import numpy as np

from ..errors import DataError
from ..extras import require
from ..report.calibration import SpanOutcomes
from .settings_trial import SettingsTrial

_TEMPERATURES = (0.05, 20.0)  # bounds of the search
_SMALLEST = 1e-12  # keeps the loss finite if a wrong span has probability 1


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
