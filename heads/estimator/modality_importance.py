"""How much a classifier relies on each modality: scikit-learn's permutation importance, with whole modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, check_random_state

from heads.errors import HeadError, SettingError
from heads.estimator.input_columns import check_modalities, columns_of, is_by_modality
from heads.estimator.partial_vectors import has_vector

__all__ = ["modality_importance"]


def modality_importance(
    classifier: Any,
    X: Any,  # noqa: N803 - scikit-learn's name
    y: Any,
    *,
    modalities: Mapping[str, int] | None = None,
    scoring: Any = None,
    n_repeats: int = 5,
    random_state: int | np.random.RandomState | None = None,
    sample_weight: Any = None,
) -> Bunch:
    """Return what the score loses when a modality's vectors are shuffled among the rows that have it.

    As `sklearn.inspection.permutation_importance`, but a modality's columns are shuffled together, and a row that lacks
    a modality still lacks it (which the report of `heads-train` shuffles, too). The classifier is a `FusionClassifier`,
    or has one inside, as a pipeline has; then `modalities`, {name: D}, says what the columns of X are, in their order.

    Shape:
        X: (N, sum of D), a matrix or a DataFrame, or {modality: (N, D)}
        y: (N,)
        sample_weight: (N,), for the scores

    Returns:
        importances_mean, importances_std: (M,), in the order of `modalities`, the names
        importances: (M, R), of each repeat

    Raises:
        SettingError: there are no modalities, or fewer than one repeat.
        HeadError: X has other columns.

    >>> from heads import FusionClassifier
    >>> X, y = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]] * 10, ["a", "b"] * 10
    >>> fitted = FusionClassifier("logistic", modalities={"text": 2, "image": 1}, random_state=0).fit(X, y)
    >>> found = modality_importance(fitted, X, y, random_state=0)
    >>> found.modalities, found.importances_mean.round(1).tolist()
    (['text', 'image'], [0.5, 0.0])
    """
    dims = check_modalities(getattr(classifier, "modalities_", None) if modalities is None else modalities)
    if n_repeats < 1:
        raise SettingError(f"Expected n_repeats to be 1 or more, got {n_repeats}.")
    score = check_scoring(classifier, scoring)
    options = {} if sample_weight is None else {"sample_weight": sample_weight}
    generator = check_random_state(random_state)
    rows_with = {name: np.flatnonzero(has_vector(_columns(X, dims, name))) for name in dims}
    whole_score = score(classifier, X, y, **options)
    importances = np.empty((len(dims), n_repeats))
    for m, (name, rows) in enumerate(rows_with.items()):
        for repeat in range(n_repeats):
            order = np.arange(len(np.asarray(y)))
            order[rows] = generator.permutation(rows)
            importances[m, repeat] = whole_score - score(
                classifier, _shuffled_columns(X, dims, name, order), y, **options
            )
    return Bunch(
        modalities=list(dims),
        importances_mean=importances.mean(axis=1),
        importances_std=importances.std(axis=1),
        importances=importances,
    )


def _columns(X: Any, dims: Mapping[str, int], name: str) -> np.ndarray:  # noqa: N803 - scikit-learn's name
    """Return a modality's vectors, (N, D) float64."""
    if is_by_modality(X):
        _check_n_columns(X[name], dims[name])
        return np.asarray(X[name], dtype=np.float64)
    _check_n_columns(X, sum(dims.values()))
    return np.asarray(getattr(X, "iloc", np.asarray(X))[:, columns_of(dims)[name]], dtype=np.float64)


def _check_n_columns(matrix: Any, n_expected: int) -> None:
    n_columns = np.shape(matrix)[1]
    if n_columns != n_expected:
        raise HeadError(f"Expected X to have the {n_expected} columns of its modalities, got {n_columns}.")


def _shuffled_columns(X: Any, dims: Mapping[str, int], name: str, order: np.ndarray) -> Any:  # noqa: N803 - scikit-learn's name
    """Return X, of the same type, with a modality's vectors in the order of these rows, (N,) int64."""
    if is_by_modality(X):
        return {**X, name: np.asarray(X[name])[order]}
    columns = columns_of(dims)[name]
    if hasattr(X, "iloc"):
        shuffled = X.copy()
        for column in range(columns.start, columns.stop):
            shuffled.isetitem(column, X.iloc[order, column].to_numpy())
        return shuffled
    shuffled = np.array(X)
    shuffled[:, columns] = shuffled[order, columns]
    return shuffled
