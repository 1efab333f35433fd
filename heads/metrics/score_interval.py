"""The 95 % interval of a score by itself: Wilson's, which also allows for what none of the rows shows."""

from __future__ import annotations

import numpy as np

__all__ = ["score_interval", "wilson_interval"]

NORMAL_975 = 1.959963984540054


def score_interval(value: np.ndarray, resampled: np.ndarray, n_seen: np.ndarray) -> np.ndarray:
    """Return the 95 % interval of a score from 0 to 1 by itself: (2, ...), low and high.

    It is that of a share of as many independent rows as would vary as the resamples do (the effective sample size;
    Korn and Graubard, Survey Methodology 24, 1998); where they do not vary at all, of `n_seen`. The resamples' own
    percentiles know nothing of mistakes that no row shows: of a head that has all of 30 rows right, 100.0 to 100.0. It
    is widened by the resamples' bias: rare classes drop out of resamples, and macro-F1 is another without them.

    Shape:
        value, n_seen: (...) the score itself, and how many independent rows it is of
        resampled: (R, ...) the score of each resample

    >>> score_interval(np.array(1.0), np.ones(1000), np.array(30)).round(3).tolist()
    [0.886, 1.0]
    """
    variance, of_a_row = resampled.var(axis=0, ddof=1), value * (1 - value)
    is_known = (np.ptp(resampled, axis=0) > 0) & (of_a_row > 0)  # the variance of equal numbers is rounded, and no 0
    n_effective = np.where(is_known, of_a_row / np.where(is_known, variance, 1), n_seen)
    low, high = _wilson_ends(value, n_effective)
    bias = value - resampled.mean(axis=0)
    ends = np.minimum(low, value) + np.minimum(bias, 0), np.maximum(high, value) + np.maximum(bias, 0)
    return np.clip(np.stack(ends), 0, 1)


def wilson_interval(n_hits: int, n: int) -> tuple[float, float, float]:
    """Return a share and its 95 % interval; nothing is known of none.

    >>> [round(value, 3) for value in wilson_interval(8, 10)]
    [0.8, 0.49, 0.943]
    """
    if not n:
        return 0.0, 0.0, 1.0
    low, high = _wilson_ends(n_hits / n, n)
    return n_hits / n, max(float(low), 0.0), min(float(high), 1.0)


def _wilson_ends(share: np.ndarray | float, n: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % interval of shares of n rows each (Wilson, JASA 22, 1927)."""
    z2 = NORMAL_975**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(share * (1 - share) * z2 / n + (z2 / (2 * n)) ** 2) / (1 + z2 / n)
    return middle - half, middle + half
