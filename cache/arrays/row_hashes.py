"""Hashes of rows of whole numbers, and which rows are equal."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["first_of_equals", "row_hashes"]

MIXER = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplier for hashing, The Art of Computer Programming, 6.4


def row_hashes(columns: Iterable[np.ndarray], n_rows: int, start: int | np.uint64 = 0) -> np.ndarray:
    """Return a hash of each of N rows, which are given as columns: (N,) uint64; with another start others."""
    hashes = np.full(n_rows, start, dtype=np.uint64)
    for column in columns:
        hashes ^= column.astype(np.uint64, copy=False)
        hashes *= MIXER
        hashes ^= hashes >> np.uint64(29)
    return hashes


def first_of_equals(rows: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Return for each row the place of the first that is equal, (N,) int64.

    Shape:
        rows: (N, n)
        hashes: (N,), the same where rows are equal
    """
    first = np.arange(len(rows))
    left = np.argsort(hashes, kind="stable")  # the first of equals is before the others
    while len(left):
        of_left = hashes[left]
        starts = np.append(True, of_left[1:] != of_left[:-1])
        is_alone = starts & np.append(starts[1:], True)
        left, starts = left[~is_alone], starts[~is_alone]
        leaders = left[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
        is_same = (rows[leaders] == rows[left]).all(axis=1)
        first[left[is_same]] = leaders[is_same]
        left = left[~is_same]
    return first
