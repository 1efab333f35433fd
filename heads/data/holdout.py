"""Rows held out to stop a training by, where there is nothing but the training rows."""

from __future__ import annotations

import numpy as np

from heads.data.splits import Split

__all__ = ["draw_holdout"]


def draw_holdout(targets: np.ndarray, shares: np.ndarray, *, generator: np.random.Generator) -> Split:
    """Return the rows to train on and those to stop by: of each class its share, and never all of it.

    Where that comes to no row, the training rows are both.

    Shape:
        targets: (N,) int64, -1 for rows to leave out
        shares: (K,) from 0 to 1
    """
    rows = generator.permutation(np.flatnonzero(targets >= 0))
    rows = rows[np.argsort(targets[rows], kind="stable")]  # by class; within it in random order
    classes = targets[rows]
    counts = np.bincount(classes, minlength=len(shares))  # (K,)
    ranks = np.arange(len(rows)) - (np.cumsum(counts) - counts)[classes]
    is_chosen = (ranks + 0.5 < shares[classes] * counts[classes]) & (ranks + 1 < counts[classes])
    train, validation = np.sort(rows[~is_chosen]), np.sort(rows[is_chosen])
    return Split(train=train, validation=validation if len(validation) else train, test=rows[:0])
