"""`HashRuns`: rows by the hash of their key, in sorted runs that are merged as they grow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cache.arrays.large_arrays import empty, row_blocks

__all__ = ["HASH", "ROW", "HashRuns"]

HASH, ROW = np.dtype(np.uint32), np.dtype(np.int32)
PIECE_ROWS = 2**19  # of each of two runs that are merged


class HashRuns:
    """The rows of hashes, eight bytes a row; of two runs the older is at least twice as long."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []  # hashes, sorted, and the row of each: (n,) and (n,)
        self.n_rows = 0

    def extend(self, hashes: np.ndarray) -> None:
        """Take the hashes of the next rows, (n,) uint32."""
        run = hashes, np.arange(self.n_rows, self.n_rows + len(hashes), dtype=ROW)
        self._runs.append(_sorted(*run))
        self.n_rows += len(hashes)
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._runs[-2:] = [_merged(*self._runs[-2:])]

    def move(self, places: np.ndarray) -> None:
        """Follow rows to other places, (U,)."""
        for _, rows in self._runs:
            for block in row_blocks(len(rows)):
                rows[block] = places[rows[block]]

    def find(self, hashes: np.ndarray, are_same: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the first row that has what is looked for, (n,) int32; -1 where none has.

        `are_same` says of rows and of numbers of the hashes, side by side, which are the same.
        """
        found = np.full(len(hashes), -1, dtype=ROW)
        order = np.argsort(hashes)  # what is looked at one after the other lies side by side
        for run_hashes, run_rows in self._runs:
            left = order[found[order] < 0]
            places = np.searchsorted(run_hashes, hashes[left])
            while len(left):
                is_alike = run_hashes.take(places, mode="clip") == hashes[left]
                is_alike &= places < len(run_hashes)
                left, places = left[is_alike], places[is_alike]
                candidates = run_rows[places]
                is_same = are_same(candidates, left)
                found[left[is_same]] = candidates[is_same]
                left, places = left[~is_same], places[~is_same] + 1
        return found


def _sorted(hashes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(hashes, kind="stable")  # which merges two sorted runs in one pass, and has the first row first
    return hashes[order], rows[order]


def _merged(
    older: tuple[np.ndarray, np.ndarray], newer: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Merge two runs piece by piece; rows of one hash are in one piece."""
    n_rows = len(older[0]) + len(newer[0])
    hashes, rows = empty(n_rows, HASH), empty(n_rows, ROW)
    limits = older[0][PIECE_ROWS::PIECE_ROWS]
    ends = [np.append(np.searchsorted(run[0], limits), len(run[0])).tolist() for run in (older, newer)]
    pieces = list(zip(*ends, strict=True))
    for number in (block.start for block in row_blocks(len(pieces), 1)):
        begins, stops = pieces[number - 1] if number else (0, 0), pieces[number]
        of_older, of_newer = (slice(*bounds) for bounds in zip(begins, stops, strict=True))
        of_both = slice(sum(begins), sum(stops))
        some = (np.append(one[of_older], other[of_newer]) for one, other in zip(older, newer, strict=True))
        hashes[of_both], rows[of_both] = _sorted(*some)
    return hashes, rows
