"""A head that is fitted in a second or so, which says how probable each class is of the products without a label."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["STRENGTH", "QuickHead", "fit_quickly"]

STRENGTH = 50.0  # scikit-learn's C, for tens to hundreds of labels and rows of length 1 in each modality
TOLERANCE = 1e-3
MOST_STEPS = 300


@dataclass(frozen=True)
class QuickHead:
    """A logistic regression on the rows that had a label."""

    model: Any  # scikit-learn's
    n_classes: int

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return how probable each class is, 0 for classes without a label.

        Shape:
            vectors: (B, D)
            output: (B, K)
        """
        probabilities = np.zeros((len(vectors), self.n_classes))
        probabilities[:, self.model.classes_] = self.model.predict_proba(vectors)
        return probabilities


def fit_quickly(vectors: np.ndarray, targets: np.ndarray, *, n_classes: int) -> QuickHead:
    """Fit a head to the rows that have a label, and return it.

    Shape:
        vectors: (N, D), of length 1 in each modality
        targets: (N,) int64, -1 where there is no label; of two classes or more
    """
    from sklearn.linear_model import LogisticRegression

    from heads.modules.fitting.sklearn_fit import fit_converged

    labelled = np.flatnonzero(targets >= 0)
    model = LogisticRegression(C=STRENGTH, tol=TOLERANCE, max_iter=MOST_STEPS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")  # few labels of many classes are usual here
        fit_converged(model, vectors[labelled], targets[labelled], None)
    return QuickHead(model, n_classes)
