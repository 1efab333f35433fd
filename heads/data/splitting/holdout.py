"""Rows held out to stop a training by, where there is nothing but the training rows."""

from __future__ import annotations

import numpy as np

from heads.data.splitting.splits import Split

__all__ = ["draw_holdout"]


def draw_holdout(
    targets: np.ndarray,
    shares: np.ndarray,
    *,
    generator: np.random.Generator,
    groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Split:
    """Return the rows to train on and those to stop by: of each class its share, and never all of it.

    Rows of one group are on one side, with the class of one of them. A row of weight 2 counts as a group of two. Where
    the share comes to no row, the training rows are both.

    Shape:
        targets: (N,) int64, -1 for rows to leave out
        shares: (K,) from 0 to 1
        groups: (N,) of any type; None: each row is one
        weights: (N,) positive where a row is not left out; None: 1 each
    """
    rows = generator.permutation(np.flatnonzero(targets >= 0))
    leaders = np.arange(len(rows))  # the position of the first row of each row's group
    if groups is not None:
        _, first_positions, inverse = np.unique(groups[rows], return_index=True, return_inverse=True)
        leaders = first_positions[inverse]
    order = np.lexsort((leaders, targets[rows[leaders]]))  # by class; within it the groups in random order
    rows, leaders, classes = rows[order], leaders[order], targets[rows[leaders]][order]
    _, first_positions, inverse = np.unique(leaders, return_index=True, return_inverse=True)
    sizes = np.bincount(inverse, None if weights is None else weights[rows])  # (G,)
    line_order = np.argsort(first_positions)  # the groups as they lie, class after class
    sizes, classes = sizes[line_order], classes[first_positions][line_order]
    ends = np.cumsum(sizes)
    is_last = np.diff(classes, append=-1) != 0
    totals = np.bincount(classes, sizes, minlength=len(shares))  # (K,)
    starts = ends - sizes - (np.cumsum(totals) - totals)[classes]  # on the line of the group's class
    is_chosen = (starts + sizes / 2 < shares[classes] * totals[classes]) & ~is_last
    is_chosen = is_chosen[np.argsort(line_order)][inverse]  # of the rows
    train, validation = np.sort(rows[~is_chosen]), np.sort(rows[is_chosen])
    return Split(train=train, validation=validation if len(validation) else train, test=rows[:0])
