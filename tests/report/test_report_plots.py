import re
from xml.etree import ElementTree

import numpy as np
import pytest

from bigru_tagger.report.calibration import Bin, Confidences, SpanOutcomes, coverage_curve
from bigru_tagger.report.plots import plot_coverage, plot_reliability, plot_scores
from bigru_tagger.report.slices import Score


def confidences(probability, correct, bins=()):
    judged = SpanOutcomes(np.array(probability, dtype=float), np.array(correct, dtype=bool))
    return Confidences(judged, 0, 0.0, list(bins), [])


def texts(svg):
    root = ElementTree.fromstring(svg)
    return [node.text for node in root.iter() if node.tag.endswith("}text")]


def test_coverage_of_a_worked_example():
    # By falling probability: correct, wrong and correct (equally probable), correct, wrong.
    found = confidences([0.5, 0.9, 0.7, 0.7, 0.6], [0, 1, 1, 0, 1])
    coverage, precision = coverage_curve(found)
    assert coverage.tolist() == pytest.approx([1 / 5, 3 / 5, 4 / 5, 1])
    assert precision.tolist() == pytest.approx([1, 2 / 3, 3 / 4, 3 / 5])


@pytest.mark.parametrize("n", [1, 5000])
def test_plots_are_small_and_have_selectable_text(n):
    generator = np.random.default_rng(0)
    found = confidences(
        generator.random(n), generator.random(n) > 0.5, [Bin(3, 0.4, 0.25), Bin(9, 0.9, 0.75)]
    )
    for svg in (plot_coverage(found), plot_reliability(found)):
        assert len(svg) < 40_000
        assert "precision" in texts(svg)


def test_scores_are_drawn_with_their_names():
    rows = [
        Score("$work of art$", 0.5, 0.5, 0.5, 4, 4, 2, (None, None, (0.25, 0.75))),
        Score("PER <&>", 1.0, 1.0, 1.0, 4, 4, 4),
    ]
    svg = plot_scores(rows)
    assert {"$work of art$", "PER <&>"} <= set(texts(svg))
    assert svg == plot_scores(rows)
    assert not re.search(r"<dc:date>", svg)
