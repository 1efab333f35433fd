"""How much a classifier relies on each modality: scikit-learn's permutation importance, of whole modalities."""

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

    As `sklearn.inspection.permutation_importance`, but a modality's columns are moved together, and each row keeps
    which modalities it has. (The report of `heads-train` moves that, too.) The classifier is a `FusionClassifier`, or
    has one inside, as a pipeline has; of that say what the columns of X are, in their order: `modalities` {name: D}.

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
    wish = getattr(classifier, "modalities_", None) if modalities is None else modalities
    dims = check_modalities(wish)
    if n_repeats < 1:
        raise SettingError(f"Expected n_repeats to be 1 or more, got {n_repeats}.")
    score = check_scoring(classifier, scoring)
    options = {} if sample_weight is None else {"sample_weight": sample_weight}
    generator = check_random_state(random_state)
    rows_with = {name: np.flatnonzero(has_vector(_columns(X, dims, name))) for name in dims}
    usual = score(classifier, X, y, **options)
    importances = np.empty((len(dims), n_repeats))
    for m, (name, places) in enumerate(rows_with.items()):
        for repeat in range(n_repeats):
            order = np.arange(len(np.asarray(y)))
            order[places] = generator.permutation(places)
            importances[m, repeat] = usual - score(classifier, _moved(X, dims, name, order), y, **options)
    return Bunch(
        modalities=list(dims),
        importances_mean=importances.mean(axis=1),
        importances_std=importances.std(axis=1),
        importances=importances,
    )


def _columns(X: Any, dims: Mapping[str, int], name: str) -> np.ndarray:  # noqa: N803 - scikit-learn's name
    """Return a modality's vectors, (N, D) float64."""
    wish, part = (dims[name], X[name]) if is_by_modality(X) else (sum(dims.values()), X)
    if (n_columns := np.shape(part)[1]) != wish:
        raise HeadError(f"Expected X to have the {wish} columns of its modalities, got {n_columns}.")
    own = part if is_by_modality(X) else getattr(X, "iloc", np.asarray(X))[:, columns_of(dims)[name]]
    return np.asarray(own, dtype=np.float64)


def _moved(X: Any, dims: Mapping[str, int], name: str, order: np.ndarray) -> Any:  # noqa: N803 - scikit-learn's name
    """Return X, in its own form, with a modality's vectors in this order, (N,)."""
    if is_by_modality(X):
        return {**X, name: np.asarray(X[name])[order]}
    columns = columns_of(dims)[name]
    if hasattr(X, "iloc"):
        moved = X.copy()
        for place in range(columns.start, columns.stop):
            moved.isetitem(place, X.iloc[order, place].to_numpy())
        return moved
    moved = np.array(X)
    moved[:, columns] = moved[order, columns]
    return moved
