"""Which points are near each other, of so many that a tree of them no longer fits into the processor's caches."""

from __future__ import annotations

import numpy as np

from cache.arrays.row_hashes import row_hashes

__all__ = ["near_pairs"]

SLAB_POINTS = 2**18  # that are looked at together: sorting ten times as many takes some twenty times as long
MOST_TOGETHER = 32  # points of one cell that are compared one with the other; a tree has more
MOST_CROWDED = 1 / 100  # of the points in such cells; where there are more, one tree has all


def near_pairs(points: np.ndarray, distance: float) -> np.ndarray:
    """Return the pairs of points that are no further apart, (P, 2) int64, the lower number first.

    They are looked at in slabs along the first dimension, each with those of the next that are near enough: at most as
    many again, however close all points are there.

    Shape:
        points: (N, n) float
    """
    order = np.argsort(points[:, 0])
    coordinates = points[order, 0]
    reach = coordinates + 2 * distance  # twice the distance, for what is rounded
    ends = np.searchsorted(coordinates, reach, side="right")  # of the points near each
    n_slab = max(SLAB_POINTS, int((ends - np.arange(len(ends))).max(initial=0)))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(points), n_slab):
        rows = order[start : ends[min(start + n_slab, len(points)) - 1]]
        pairs.append(rows[_pairs_of_slab(points[rows], distance)])
    lower, higher = np.sort(np.concatenate(pairs), axis=1).T
    return np.stack(np.divmod(np.unique(lower * len(points) + higher), max(1, len(points))), axis=1)


def _pairs_of_slab(points: np.ndarray, distance: float) -> np.ndarray:
    """Return the pairs of points that are no further apart, (P, 2) int64; some more than once.

    Of n + 1 grids whose lines are shifted by more than the distance, one has no line between two such points, for in
    each of the n dimensions no more than one grid has (Chan, Approximate Nearest Neighbor Queries Revisited, 1998).

    Shape:
        points: (N, n) float
    """
    n_grids = points.shape[1] + 1
    shift = 2 * distance
    columns = np.ascontiguousarray(points.T, dtype=np.float64)  # (n, N)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for grid in range(n_grids):
        cells = (np.floor((column + grid * shift) / (n_grids * shift)).astype(np.int64) for column in columns)
        hashes = row_hashes(cells, len(points))
        order = np.argsort(hashes)
        hashes = hashes[order]
        starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
        counts = np.diff(np.append(starts, len(hashes)))
        crowded = order[np.repeat(counts > MOST_TOGETHER, counts)]
        if len(crowded) > MOST_CROWDED * len(points):
            return _by_tree(points, np.arange(len(points)), distance)
        pairs.append(_by_tree(points, crowded, distance))
        cell_ends = np.repeat(starts + counts, counts)  # where the cell of each ends
        first_points = np.flatnonzero(np.repeat((counts > 1) & (counts <= MOST_TOGETHER), counts))
        for step in range(1, MOST_TOGETHER):
            first_points = first_points[first_points + step < cell_ends[first_points]]
            if not len(first_points):
                break
            candidates = np.stack([order[first_points], order[first_points + step]], axis=1)
            is_near = np.linalg.norm(points[candidates[:, 0]] - points[candidates[:, 1]], axis=1) <= distance
            pairs.append(candidates[is_near])
    return np.concatenate(pairs)


def _by_tree(points: np.ndarray, rows: np.ndarray, distance: float) -> np.ndarray:
    from scipy.spatial import cKDTree

    if len(rows) < 2:
        return np.empty((0, 2), dtype=np.int64)
    return rows[cKDTree(points[rows]).query_pairs(distance, output_type="ndarray")]
