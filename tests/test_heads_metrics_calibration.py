"""Reliability diagrams by hand."""

import numpy as np
import pytest

from heads.metrics.calibration import measure_reliability
from heads.reports.train_figures import plot_reliability


def test_bins_hold_counts_mean_probabilities_and_shares_of_right_answers():
    """Fifteen bins of 1/15: 0.5 and 0.52 lie in [7/15, 8/15), 0.95 and 1 in the last one, 14/15 to 1."""
    found = measure_reliability(np.array([0.5, 0.52, 0.95, 1.0, 0.95]), np.array([True, False, True, True, False]))
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 3]
    assert found.confidences[[7, 14]] == pytest.approx([0.51, 2.9 / 3])
    assert found.accuracies[[7, 14]] == pytest.approx([0.5, 2 / 3])
    assert np.isnan(found.accuracies[0])
    # the gaps are 0.01 for two rows and 0.3 for three
    assert found.error == pytest.approx((2 * 0.01 + 3 * 0.3) / 5)


def test_a_probability_on_an_edge_lies_in_the_upper_bin():
    assert measure_reliability(np.array([0.2]), np.array([True])).counts[3] == 1


def test_a_long_name_leaves_the_figure_its_error():
    found = measure_reliability(np.array([0.75, 0.75]), np.array([True, False]))
    drawn = plot_reliability("a-name-of-a-head-that-no-plot-has-room-for", found)
    assert ">a-name-of-a-he…, ECE 0.250<" in drawn
    assert ">early, ECE 0.250<" in plot_reliability("early", found)


def test_no_row_has_no_error():
    assert measure_reliability(np.empty(0), np.empty(0, dtype=bool)).error == 0
