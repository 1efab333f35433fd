"""McNemar's test and the tally of classes, by hand and against SciPy."""

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, norm

from heads.metrics.mcnemar import mcnemar_test
from heads.metrics.per_class_changes import tally_classes
from heads.metrics.score_interval import wilson_interval


def answers_of(n_won, n_lost, n_both=5, n_neither=3):
    """Return labels, and the answers of two heads of which the first wins and loses so many rows."""
    targets = np.zeros(n_won + n_lost + n_both + n_neither, dtype=np.int64)
    first, second = targets.copy(), targets.copy()
    second[:n_won] = 1
    first[n_won : n_won + n_lost] = 1
    if n_neither:
        first[-n_neither:], second[-n_neither:] = 1, 2  # both wrong, and not the same way
    return targets, first, second


def test_mcnemars_test_by_hand():
    """Of 4 discordant rows 1 is lost: twice the probability of 0 or 1 heads in 4 tosses, 2 * 5/16."""
    found = mcnemar_test(*answers_of(3, 1))
    assert (found.n_won, found.n_lost, found.is_exact) == (3, 1, True)
    assert found.p_value == pytest.approx(10 / 16)


@pytest.mark.parametrize(("n_won", "n_lost"), [(0, 1), (5, 0), (7, 7), (12, 3), (2, 22)])
def test_few_discordant_rows_are_tested_exactly(n_won, n_lost):
    found = mcnemar_test(*answers_of(n_won, n_lost))
    assert found.is_exact
    assert found.p_value == pytest.approx(binomtest(n_won, n_won + n_lost, 0.5).pvalue)


@pytest.mark.parametrize(("n_won", "n_lost"), [(20, 5), (34, 19), (60, 61), (40, 40), (300, 200)])
def test_many_are_tested_by_chi_square_with_continuity_correction(n_won, n_lost):
    found = mcnemar_test(*answers_of(n_won, n_lost))
    assert not found.is_exact
    statistic = max(abs(n_won - n_lost) - 1, 0) ** 2 / (n_won + n_lost)
    assert found.p_value == pytest.approx(chi2.sf(statistic, 1))
    assert found.p_value == pytest.approx(binomtest(n_won, n_won + n_lost, 0.5).pvalue, abs=0.02)


def test_heads_that_agree_are_no_evidence():
    found = mcnemar_test(*answers_of(0, 0))
    assert (found.n_won, found.n_lost, found.p_value) == (0, 0, 1.0)


def test_classes_are_won_by_rows():
    targets = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    first = np.array([0, 0, 0, 0, 0, 2, 0, 3])
    second = np.array([0, 1, 1, 1, 1, 0, 2, 3])
    tally = tally_classes(targets, first, second, ["a", "b", "c", "d", "never"])
    assert (tally.n_won, tally.n_lost, tally.n_tied) == (1, 1, 2)
    (gain,), (loss,) = tally.gains, tally.losses
    assert (gain.name, gain.support, gain.n_won, gain.n_lost) == ("a", 3, 2, 0)
    assert (gain.recall[0], gain.other_recall[0]) == (1, pytest.approx(1 / 3))
    assert (loss.name, loss.support, loss.n_won, loss.n_lost) == ("b", 2, 0, 2)


def test_three_classes_at_most_are_named_the_largest_changes_first():
    targets = np.repeat(np.arange(6), 10)
    second = targets.copy()
    for code, n_wrong in enumerate((1, 5, 2, 4, 3)):
        second[code * 10 : code * 10 + n_wrong] = 5
    tally = tally_classes(targets, targets, second, list("abcdef"))
    assert (tally.n_won, tally.n_lost, tally.n_tied) == (5, 0, 1)
    assert [change.name for change in tally.gains] == ["b", "d", "e"]
    reverse = tally_classes(targets, second, targets, list("abcdef"))
    assert [change.name for change in reverse.losses] == ["b", "d", "e"]
    assert reverse.gains == []


@pytest.mark.parametrize(("n_hits", "n"), [(0, 4), (1, 4), (4, 4), (37, 50), (999, 1000)])
def test_wilson_interval_is_where_the_score_test_rejects(n_hits, n):
    """At each end the observed share is 1.96 standard errors of that end away."""
    share, low, high = wilson_interval(n_hits, n)
    assert share == n_hits / n
    for end in (low, high):
        if 0 < end < 1:
            away = abs(share - end) / np.sqrt(end * (1 - end) / n)
            assert away == pytest.approx(norm.ppf(0.975), abs=1e-6)
    assert 0 <= low <= share <= high + 1e-12
    assert high <= 1


def test_nothing_is_known_of_a_class_without_rows():
    assert wilson_interval(0, 0) == (0.0, 0.0, 1.0)
