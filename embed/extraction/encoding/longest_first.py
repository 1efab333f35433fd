"""The order in which texts are encoded: those of one length need little padding."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cache.arrays.hash_runs import ROW
from cache.arrays.large_arrays import empty, row_blocks

__all__ = ["longest_first"]


def longest_first(lengths: np.ndarray) -> np.ndarray:
    """Return the indices of the longest first, of those of one length in their order: (N,) int32.

    Lengths are counted, and then each index is put where it belongs, block by block, so that memory holds one block.

    >>> longest_first(np.array([2, 7, 2, 9])).tolist()
    [3, 1, 0, 2]

    Shape:
        lengths: (N,) of whole numbers
    """
    counts: Counter[int] = Counter()
    for rows in row_blocks(len(lengths)):
        distinct, block_counts = np.unique(lengths[rows], return_counts=True)
        counts.update(dict(zip(distinct.tolist(), block_counts.tolist(), strict=True)))
    next_position, n_longer = {}, 0  # of a length
    for length in sorted(counts, reverse=True):
        next_position[length] = n_longer
        n_longer += counts[length]
    order = empty(len(lengths), ROW)
    for rows in row_blocks(len(lengths)):
        by_length = np.argsort(lengths[rows], kind="stable")
        distinct, block_counts = np.unique(lengths[rows], return_counts=True)
        stop = 0
        for length, count in zip(distinct.tolist(), block_counts.tolist(), strict=True):
            start, stop = stop, stop + count
            order[next_position[length] : next_position[length] + count] = rows.start + by_length[start:stop]
            next_position[length] += count
    return order
