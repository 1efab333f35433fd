"""Whether a head is as sure as it is right: predictions in bins of their probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Reliability", "measure_reliability"]

N_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Answers in bins of equal width of their probability (arXiv 1706.04599, figure 1).

    Shape:
        counts: (15,) int64, the predictions in each bin
        confidences, accuracies: (15,), their mean probability and the share of them that is right; NaN in empty bins
    """

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of the two, by predictions (equation 3)."""
        gaps = np.abs(np.nan_to_num(self.confidences - self.accuracies))
        return float((gaps * self.counts).sum() / max(int(self.counts.sum()), 1))

    @property
    def floor(self) -> float:
        """The error that a perfectly calibrated head with these probabilities would show on average on so many rows.

        It is no zero, since a bin's share of right answers is off by chance, and few rows are off by much
        (arXiv 1909.10155, section 4; arXiv 2012.08668): an error is one as far as it stands above its floor. Each bin's
        answers are right by the mean probability and independent of each other, so that the distance is the mean
        absolute deviation of a binomial.

        >>> round(measure_reliability(np.full(4, 0.5), np.ones(4, dtype=bool)).floor, 4)
        0.1875
        """
        bins = [(int(n), float(mean)) for n, mean in zip(self.counts, self.confidences, strict=True) if n]
        return sum(_mean_absolute_deviation(n, mean) for n, mean in bins) / max(int(self.counts.sum()), 1)


def _mean_absolute_deviation(n: int, share: float) -> float:
    """Return the mean of |X - n p| of a binomial X (de Moivre; Diaconis & Zabell, Statistical Science 6, 1991)."""
    above = math.floor(n * share) + 1  # the least count above the mean
    if above > n or share <= 0:
        return 0.0
    log_ways = math.lgamma(n + 1) - math.lgamma(above + 1) - math.lgamma(n - above + 1)
    log_chance = log_ways + above * math.log(share) + (n - above + 1) * math.log1p(-share)
    return 2 * above * math.exp(log_chance)


def measure_reliability(confidences: np.ndarray, is_right: np.ndarray) -> Reliability:
    """Return how often predictions of some probability are right; a bin holds its lower edge, the last one 1 as well.

    Shape:
        confidences: (n,)
        is_right: (n,) bool
    """
    confidences = confidences.astype(np.float64)
    bins = np.minimum((confidences * N_BINS).astype(np.int64), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, weights=values, minlength=N_BINS) / counts for values in (confidences, is_right)]
    return Reliability(counts, *means)
