"""Fitting a model of scikit-learn's: a warning that it did not converge becomes the result."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["fit_converged"]

SHARED_NUMBERS = 2**24  # in vectors: a product of fewer is one thread's


def fit_converged(model: Any, vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> bool:
    """Fit a model to (N, D) vectors, (N,) labels and (N,) weights, and return whether its solver converged.

    Other warnings are given as usual.
    """
    from sklearn.exceptions import ConvergenceWarning

    limit = 1 if vectors.size < SHARED_NUMBERS else None  # threads that wait for each other took twice as long, or more
    with _libraries().limit(limits=limit, user_api="blas"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(vectors, labels, sample_weight=weights)
    converged = True
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            converged = False
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return converged


@functools.cache  # to look for them takes as long as to fit a small model
def _libraries() -> ThreadpoolController:
    """Return the libraries in this process that have threads of their own."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
