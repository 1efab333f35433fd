"""How often each row counts: scikit-learn's sample_weight, checked."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length

from heads.errors import SettingError

__all__ = ["check_sample_weight"]


def check_sample_weight(sample_weight: Any, matrix: np.ndarray) -> np.ndarray | None:
    """Return how often each row of a matrix counts, (N,) float64; None where each counts once.

    Weights above 0 whose mean is below 1 only say how rows compare: they are scaled to a mean of 1.

    Raises:
        SettingError: a weight is negative, all are zero, or they are no list.
        ValueError: scikit-learn finds that they are not numbers, or not one a row.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        sample_weight = np.full(len(matrix), float(sample_weight))
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.ndim != 1:
        raise SettingError(f"Expected sample_weight to be one number a row, got an array of shape {weights.shape}.")
    check_consistent_length(matrix, weights)
    if (weights < 0).any():
        raise SettingError(f"Expected each sample_weight to be 0 or more, got {weights.min():g}. Leave such rows out.")
    if not weights.any():
        raise SettingError("Expected some sample_weight to be above zero, but all are zero: no row would count.")
    is_counted = weights > 0
    if (mean := weights[is_counted].mean()) < 1:
        weights = weights / mean
    if np.allclose(weights[is_counted], 1, rtol=1e-9, atol=0):  # as if only some rows were given, to the last bit
        weights = is_counted.astype(np.float64)
    return None if is_counted.all() and weights.max() == 1 else weights
