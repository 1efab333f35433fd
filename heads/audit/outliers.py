"""Products unlike all others: far from their nearest, as distances go in their class."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.nearest import Nearest

__all__ = ["FAR", "find_outliers"]

FAR = 5.0  # deviations above the median of the class
DEVIATION = 1.4826  # of a normal distribution, by the median of absolute differences from the median
LEAST_DEVIATION = 0.01  # of distances, which are from 0 to 2


def find_outliers(evidence: Evidence, *, most: int) -> tuple[list[Finding], int]:
    """Return the rows that are far from their nearest in some modality, the farthest first."""
    n_rows = len(evidence.targets)
    worst, where = np.full(n_rows, -np.inf), np.full(n_rows, -1)
    distances = {name: _distances(nearest) for name, nearest in evidence.nearest.items()}
    for place, values in enumerate(distances.values()):
        deviations = _deviations(values, evidence.targets)
        is_worse = deviations > worst
        worst, where = np.where(is_worse, deviations, worst), np.where(is_worse, place, where)
    rows = np.flatnonzero(worst >= FAR)
    rows = rows[np.argsort(-worst[rows], kind="stable")]
    names = list(distances)
    listed = [(row, names[where[row]]) for row in rows[:most].tolist()]
    return [_finding(evidence, row, name, distances[name], float(worst[row])) for row, name in listed], len(rows)


def _distances(nearest: Nearest) -> np.ndarray:
    """Return the mean distance of each row to its nearest, 1 minus the cosine, (N,); NaN where it has none."""
    is_there = nearest.rows >= 0
    counts = is_there.sum(1)
    sums = np.where(is_there, 1 - nearest.cosines, 0).sum(1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _deviations(distances: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return how many deviations each row is above its class's median, (N,); -inf where it has no distance."""
    deviations = np.full(len(distances), -np.inf)
    rows = np.flatnonzero(~np.isnan(distances) & (targets >= 0))
    rows = rows[np.argsort(targets[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(targets[rows], prepend=-1))
    for of_class in np.split(rows, starts[1:]):
        values = distances[of_class]
        if len(values):
            middle = np.median(values)
            deviation = max(DEVIATION * float(np.median(np.abs(values - middle))), LEAST_DEVIATION)
            deviations[of_class] = (values - middle) / deviation
    return deviations


def _finding(evidence: Evidence, row: int, name: str, distances: np.ndarray, deviations: float) -> Finding:
    said, target = evidence.out_of_fold, int(evidence.targets[row])
    nearest = evidence.nearest[name].rows[row]
    return Finding(
        kind="outlier",
        score=deviations,
        words=(
            f"The {name} is {distances[row]:.2f} from its nearest on average, {deviations:.1f} deviations above "
            f"the median of {evidence.label(target)}."
        ),
        row=row,
        given=evidence.label(target),
        given_probability=float(said.of_given[row]) if said.is_known[row] else None,
        others=nearest[nearest >= 0][:3].tolist(),
    )
