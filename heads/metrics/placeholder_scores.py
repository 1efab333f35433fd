"""Scores on the rows with a placeholder, and on the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["score_apart"]


def score_apart(
    has_placeholder: np.ndarray, measure: Callable[[np.ndarray], Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Return the scores on the rows with a placeholder and on the others, {which: scores}; none without both.

    A placeholder is a content under many rows of many labels: what a head gets right there it has from elsewhere.

    >>> score_apart(np.array([True, False, False]), lambda rows: {"last": float(rows[2])})["without"]
    {'n_rows': 2, 'last': 1.0}

    Args:
        has_placeholder: (n,) bool
        measure: from some of the rows, (n,) bool, to their scores
    """
    if has_placeholder.all() or not has_placeholder.any():
        return {}
    parts = {"with a placeholder": has_placeholder, "without": ~has_placeholder}
    return {name: {"n_rows": int(rows.sum()), **measure(rows)} for name, rows in parts.items()}
