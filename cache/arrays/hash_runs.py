"""`HashRuns`: rows by the hash of their key, in sorted runs that are merged as they grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cache.arrays.large_arrays import empty, row_blocks

__all__ = ["HASH", "ROW", "HashRuns"]

HASH, ROW = np.dtype(np.uint32), np.dtype(np.int32)
PIECE_ROWS = 2**19  # of the older of two runs, that are merged at once


class _Run(NamedTuple):
    """Sorted hashes, (n,) uint32, and the row of each, (n,) int32."""

    hashes: np.ndarray
    rows: np.ndarray


class HashRuns:
    """The rows of hashes, eight bytes a row; of two successive runs the older is at least twice as long."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self.n_rows = 0

    def extend(self, hashes: np.ndarray) -> None:
        """Append the hashes of the next rows, (n,) uint32."""
        rows = np.arange(self.n_rows, self.n_rows + len(hashes), dtype=ROW)
        self._runs.append(_sorted(hashes, rows))
        self.n_rows += len(hashes)
        while len(self._runs) > 1 and len(self._runs[-2].rows) < 2 * len(self._runs[-1].rows):
            self._runs[-2:] = [_merged(*self._runs[-2:])]

    def move(self, new_rows: np.ndarray) -> None:
        """Follow rows that were reordered: row n is now ``new_rows[n]``, (U,)."""
        for run in self._runs:
            for block in row_blocks(len(run.rows)):
                run.rows[block] = new_rows[run.rows[block]]

    def find(self, hashes: np.ndarray, are_same: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the first row of each key that is looked up by its hash, (n,) int32; -1 where no row has the key.

        ``are_same(rows, indices)`` tells for pairs of a row and an index into `hashes` whether they have the same key.
        """
        found_rows = np.full(len(hashes), -1, dtype=ROW)
        order = np.argsort(hashes)  # so that positions in a run are read one after the other
        for run in self._runs:
            pending = order[found_rows[order] < 0]
            positions = np.searchsorted(run.hashes, hashes[pending])
            while len(pending):
                is_candidate = run.hashes.take(positions, mode="clip") == hashes[pending]
                is_candidate &= positions < len(run.hashes)
                pending, positions = pending[is_candidate], positions[is_candidate]
                candidates = run.rows[positions]
                is_same = are_same(candidates, pending)
                found_rows[pending[is_same]] = candidates[is_same]
                pending, positions = pending[~is_same], positions[~is_same] + 1
        return found_rows


def _sorted(hashes: np.ndarray, rows: np.ndarray) -> _Run:
    order = np.argsort(hashes, kind="stable")  # merges two sorted runs in one pass, and keeps the first row first
    return _Run(hashes[order], rows[order])


def _merged(older: _Run, newer: _Run) -> _Run:
    """Merge two runs piece by piece; rows of one hash are in one piece."""
    n_rows = len(older.rows) + len(newer.rows)
    merged = _Run(empty(n_rows, HASH), empty(n_rows, ROW))
    limits = older.hashes[PIECE_ROWS::PIECE_ROWS]  # the first hash of each piece but the first
    older_stops, newer_stops = (
        np.append(np.searchsorted(run.hashes, limits), len(run.hashes)).tolist() for run in (older, newer)
    )
    older_start = newer_start = 0
    for piece in row_blocks(len(older_stops), 1):
        older_stop, newer_stop = older_stops[piece.start], newer_stops[piece.start]
        target = slice(older_start + newer_start, older_stop + newer_stop)
        merged.hashes[target], merged.rows[target] = _sorted(
            np.append(older.hashes[older_start:older_stop], newer.hashes[newer_start:newer_stop]),
            np.append(older.rows[older_start:older_stop], newer.rows[newer_start:newer_stop]),
        )
        older_start, newer_start = older_stop, newer_stop
    return merged
