import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigru_tagger.report.calibration import SpanOutcomes, expected_calibration_error, reliability


def judged(*pairs):
    probability, correct = zip(*pairs, strict=True)
    return SpanOutcomes(np.array(probability), np.array(correct, dtype=bool))


def test_calibration_error_by_hand():
    spans = judged((0.12, 0), (0.18, 1), (0.9, 1), (0.95, 1), (1.0, 0))
    first, last = reliability(spans, n_bins=10)
    assert (first.count, last.count) == (2, 3)
    assert (first.probability, first.precision) == pytest.approx((0.15, 0.5))
    assert (last.probability, last.precision) == pytest.approx((0.95, 2 / 3))
    expected = (2 * (0.5 - 0.15) + 3 * (0.95 - 2 / 3)) / 5
    assert expected_calibration_error(spans, n_bins=10) == pytest.approx(expected)


@given(
    pairs=st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1),
    n_bins=st.integers(1, 20),
)
def test_bins_hold_every_span_once(pairs, n_bins):
    bins = reliability(judged(*pairs), n_bins)
    assert sum(b.count for b in bins) == len(pairs)
    assert sum(b.count * b.precision for b in bins) == pytest.approx(sum(c for _, c in pairs))
    means = [b.probability for b in bins]
    assert means == sorted(means)
    assert 0.0 <= expected_calibration_error(judged(*pairs), n_bins) <= 1.0


def test_without_spans_there_is_no_calibration_error():
    with pytest.raises(ValueError, match="no spans were found"):
        expected_calibration_error(SpanOutcomes(np.zeros(0), np.zeros(0, dtype=bool)))
