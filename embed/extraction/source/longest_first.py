"""The order in which texts are encoded: those of one length need little padding."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cache.arrays.hash_runs import ROW
from cache.arrays.large_arrays import empty, row_blocks

__all__ = ["longest_first"]


def longest_first(lengths: np.ndarray) -> np.ndarray:
    """Return the places of the longest first, of those of one length in their order: (N,) int32.

    They are counted and then put where they belong, block by block, so that memory holds no more than a block.

    >>> longest_first(np.array([2, 7, 2, 9])).tolist()
    [3, 1, 0, 2]

    Shape:
        lengths: (N,) of whole numbers
    """
    counts: Counter[int] = Counter()
    for rows in row_blocks(len(lengths)):
        distinct, some = np.unique(lengths[rows], return_counts=True)
        counts.update(dict(zip(distinct.tolist(), some.tolist(), strict=True)))
    next_place, n_longer = {}, 0
    for length in sorted(counts, reverse=True):
        next_place[length] = n_longer
        n_longer += counts[length]
    order = empty(len(lengths), ROW)
    for rows in row_blocks(len(lengths)):
        by_length = np.argsort(lengths[rows], kind="stable")
        distinct, some = np.unique(lengths[rows], return_counts=True)
        stop = 0
        for length, count in zip(distinct.tolist(), some.tolist(), strict=True):
            start, stop = stop, stop + count
            order[next_place[length] : next_place[length] + count] = rows.start + by_length[start:stop]
            next_place[length] += count
    return order
