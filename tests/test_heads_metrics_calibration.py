"""Reliability diagrams by hand."""

import numpy as np
import pytest
from scipy.stats import binom

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
    none = measure_reliability(np.empty(0), np.empty(0, dtype=bool))
    assert (none.error, none.floor) == (0, 0)


@pytest.mark.parametrize(("n_rows", "least"), [(80, 0.1), (1000, 0.03), (20_000, 0)])
def test_the_floor_is_what_a_perfectly_calibrated_head_shows_on_average(n_rows, least):
    """At 80 rows that is about 0.13, and nothing that speaks against the head."""
    generator = np.random.default_rng(0)
    confidences = generator.uniform(0.2, 1, size=n_rows)
    shown = [measure_reliability(confidences, generator.random(n_rows) < confidences) for _ in range(300)]
    floor = shown[0].floor
    assert {found.floor for found in shown} == {floor}  # it does not look at the answers
    assert floor == pytest.approx(np.mean([found.error for found in shown]), rel=0.04)
    assert least < floor < least + 0.07


@pytest.mark.parametrize(("n", "share"), [(1, 0.5), (7, 0.3), (40, 0.97), (300, 0.999), (5000, 0.4)])
def test_the_floor_of_one_bin_is_a_binomials_mean_absolute_deviation(n, share):
    counts = np.arange(n + 1)
    expected = (binom.pmf(counts, n, share) * np.abs(counts / n - share)).sum()
    assert measure_reliability(np.full(n, share), np.ones(n, dtype=bool)).floor == pytest.approx(expected)


def test_certainty_has_no_floor():
    assert measure_reliability(np.ones(50), np.ones(50, dtype=bool)).floor == 0
