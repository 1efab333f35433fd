"""A head that is fitted in a second or so: what is known of the products that have no label."""

from __future__ import annotations

import warnings

import numpy as np

__all__ = ["STRENGTH", "fit_quickly"]

STRENGTH = 50.0  # scikit-learn's C, for rows of length 1 a modality and tens to hundreds of labels
TOLERANCE = 1e-3
MOST_STEPS = 300
BLOCK_ROWS = 65_536


def fit_quickly(vectors: np.ndarray, targets: np.ndarray, rows: np.ndarray, *, n_classes: int) -> np.ndarray:
    """Return what a logistic regression on the labelled rows says of others, (n, K); 0 for classes without a label.

    Shape:
        vectors: (N, D), of length 1 a modality
        targets: (N,) int64, -1 where there is no label; of two classes or more
        rows: (n,) int64
    """
    from sklearn.linear_model import LogisticRegression

    from heads.modules.sklearn_fit import fit_converged

    labelled = np.flatnonzero(targets >= 0)
    model = LogisticRegression(C=STRENGTH, tol=TOLERANCE, max_iter=MOST_STEPS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")  # few labels of many classes are usual here
        fit_converged(model, vectors[labelled], targets[labelled], None)
    probabilities = np.zeros((len(rows), n_classes))
    for start in range(0, len(rows), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        probabilities[block, model.classes_] = model.predict_proba(vectors[rows[block]])
    return probabilities
