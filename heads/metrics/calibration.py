"""Whether a head is as sure as it is right: predictions in bins of their probability."""

from __future__ import annotations

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
        means = [np.bincount(bins, weights=own, minlength=N_BINS) / counts for own in (confidences, is_right)]
    return Reliability(counts, *means)
