"""Hashes of rows of whole numbers, and which rows are equal."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["first_of_equals", "row_hashes"]

MIXER = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplier for hashing, The Art of Computer Programming, 6.4


def row_hashes(columns: Iterable[np.ndarray], n_rows: int, start: int | np.uint64 = 0) -> np.ndarray:
    """Return a hash of each of N rows, which are given by their columns, (N,) uint64; `start` seeds it."""
    hashes = np.full(n_rows, start, dtype=np.uint64)
    for column in columns:
        hashes ^= column.astype(np.uint64, copy=False)
        hashes *= MIXER
        hashes ^= hashes >> np.uint64(29)
    return hashes


def first_of_equals(rows: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Return for each row the index of the first row that equals it, (N,) int64.

    Shape:
        rows: (N, n)
        hashes: (N,), the same where rows are equal
    """
    firsts = np.arange(len(rows))
    pending = np.argsort(hashes, kind="stable")  # the first of equals is before the others
    while len(pending):
        pending_hashes = hashes[pending]
        starts_group = np.append(True, pending_hashes[1:] != pending_hashes[:-1])
        is_alone = starts_group & np.append(starts_group[1:], True)
        pending, starts_group = pending[~is_alone], starts_group[~is_alone]
        leaders = pending[np.flatnonzero(starts_group)[np.cumsum(starts_group) - 1]]  # the first of each one's group
        is_same = (rows[leaders] == rows[pending]).all(axis=1)
        firsts[pending[is_same]] = leaders[is_same]
        pending = pending[~is_same]  # rows that differ and have one hash
    return firsts
