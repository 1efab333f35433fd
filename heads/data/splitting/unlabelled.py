"""Products that have no label and share nothing with any that has: what a pseudo-label may be given to."""

from __future__ import annotations

import numpy as np

from cache import Cache
from heads.data.labels import Labels
from heads.data.splitting.splits import side_of

__all__ = ["find_unlabelled"]


def find_unlabelled(cache: Cache, labels: Labels, *, groups: np.ndarray, split_column: str | None = None) -> np.ndarray:
    """Return the rows without a label that are no copy of a row with one, (n,) int64.

    Where a column splits the rows, those it holds out are not among them, nor are their copies.

    Shape:
        groups: (N,) int64
    """
    if labels.is_unlabelled is None:
        return np.empty(0, dtype=np.int64)
    is_free = labels.is_unlabelled.copy()
    if split_column is not None:
        is_free &= np.array([side_of(cell) in ("train", "") for cell in cache.column(split_column)], dtype=bool)
    return np.flatnonzero(is_free & ~np.isin(groups, groups[~is_free]))
