"""Fitting a model of scikit-learn's, whose warnings that it did not converge become an answer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

__all__ = ["fit_converged"]


def fit_converged(model: Any, vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> bool:
    """Fit a model to (N, D) vectors, (N,) labels and (N,) weights, and return whether its solver converged.

    Other warnings are given as usual.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(vectors, labels, sample_weight=weights)
    converged = True
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            converged = False
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return converged
