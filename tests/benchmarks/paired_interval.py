"""The interval of a mean of paired differences, where the results share rows and where they do not."""

from __future__ import annotations

import numpy as np

__all__ = ["interval"]


def interval(differences: np.ndarray, *, test_to_train: float = 0.0) -> tuple[float, float]:
    """Return the half width of the 95 % interval of the mean of some differences, and the mean.

    Student's t over n results that are independent of each other, of which the variance of the mean is their variance
    times 1/n. Results of folds over the same rows are not; for them it is times 1/n + `test_to_train`, the rows of a
    fold to those of the others (Nadeau & Bengio, Inference for the Generalization Error, 2003).
    """
    from scipy.stats import t

    n = len(differences)
    if n < 2:
        return float("nan"), float(differences.mean())
    wide = t.ppf(0.975, n - 1) * differences.std(ddof=1) * (1 / n + test_to_train) ** 0.5
    return float(wide), float(differences.mean())
