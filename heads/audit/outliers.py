"""Products unlike all others: far from their nearest, as distances go in their class."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.nearest import Nearest

__all__ = ["FAR", "find_outliers", "too_small_notes"]

FAR = 5.0  # deviations above the median of the class
DEVIATION = 1.4826  # of a normal distribution, by the median of absolute differences from the median
LEAST_DEVIATION = 0.01  # of distances, which are from 0 to 2
LEAST_ROWS = 6  # of a class that are no copies: of fewer nothing is said
ENOUGH_ROWS = 20  # from which on a class's deviation is that of its rows alone


def find_outliers(evidence: Evidence, *, most: int) -> tuple[list[Finding], int]:
    """Return the rows that are far from their nearest in some modality, the farthest first."""
    n_rows = len(evidence.targets)
    worst, where = np.full(n_rows, -np.inf), np.full(n_rows, -1)
    distances = {name: _distances(nearest) for name, nearest in evidence.nearest.items()}
    for place, values in enumerate(distances.values()):
        deviations = _deviations(values, evidence)
        is_worse = deviations > worst
        worst, where = np.where(is_worse, deviations, worst), np.where(is_worse, place, where)
    rows = np.flatnonzero(worst >= FAR)
    rows = rows[np.argsort(-worst[rows], kind="stable")]
    names = list(distances)
    listed = [(row, names[where[row]]) for row in rows[:most].tolist()]
    return [_finding(evidence, row, name, distances[name], float(worst[row])) for row, name in listed], len(rows)


def too_small_notes(evidence: Evidence) -> list[str]:
    """Return notes on the classes that have too few rows of a modality to tell outliers by."""
    of_classes: dict[tuple[int, ...], list[str]] = {}  # the modalities in which the same are too small
    for name, nearest in evidence.nearest.items():
        counts = np.zeros(len(evidence.problem.labels.classes), dtype=np.int64)
        for rows in _rows_by_class(_distances(nearest), evidence):
            counts[evidence.targets[rows[0]]] = len(np.unique(evidence.problem.groups[rows]))
        if len(small := np.flatnonzero(counts < LEAST_ROWS)):
            of_classes.setdefault(tuple(small.tolist()), []).append(name)
    notes = []
    for classes, names in of_classes.items():
        by = "" if len(names) == len(evidence.nearest) else f" by {' and '.join(names)}"
        shown = ", ".join([*map(evidence.label, classes[:3]), *(["…"] if len(classes) > 3 else [])])
        notes.append(
            f"Outliers{by} are not looked for in {len(classes)} {'class' if len(classes) == 1 else 'classes'} of fewer "
            f"than {LEAST_ROWS} different products: {shown}."
        )
    return notes


def _distances(nearest: Nearest) -> np.ndarray:
    """Return the mean distance of each row to its nearest, 1 minus the cosine, (N,); NaN where it has none."""
    is_there = nearest.rows >= 0
    counts = is_there.sum(1)
    sums = np.where(is_there, 1 - nearest.cosines, 0).sum(1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _deviations(distances: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Return how many deviations each row is above its class's median, (N,); -inf where nothing can be told of it.

    Rows of a small class are held against its other rows, and against the deviation of all classes where that is the
    greater: of few distances some deviate by much from the rest by chance. Copies count once.
    """
    deviations = np.full(len(distances), -np.inf)
    pooled = LEAST_DEVIATION
    classes = []
    for rows in _rows_by_class(distances, evidence):
        firsts, inverse = np.unique(evidence.problem.groups[rows], return_index=True, return_inverse=True)[1:]
        if len(firsts) >= LEAST_ROWS:
            classes.append((rows, distances[rows[firsts]], inverse))
    if classes:
        apart = [np.abs(values - np.median(values)) for _, values, _ in classes]
        pooled = max(DEVIATION * float(np.median(np.concatenate(apart))), LEAST_DEVIATION)
    for rows, values, inverse in classes:
        others, least = values[None], LEAST_DEVIATION
        if len(values) < ENOUGH_ROWS:
            is_other = ~np.eye(len(values), dtype=bool)
            others, least = np.broadcast_to(values, is_other.shape)[is_other].reshape(len(values), -1), pooled
        middles = np.median(others, axis=1)
        spreads = np.maximum(DEVIATION * np.median(np.abs(others - middles[:, None]), axis=1), least)
        middles, spreads = (np.broadcast_to(each, len(values))[inverse] for each in (middles, spreads))
        deviations[rows] = (distances[rows] - middles) / spreads
    return deviations


def _rows_by_class(distances: np.ndarray, evidence: Evidence) -> list[np.ndarray]:
    """Return the rows of each class that have a distance."""
    targets = evidence.targets
    rows = np.flatnonzero(~np.isnan(distances) & (targets >= 0))
    rows = rows[np.argsort(targets[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(targets[rows])) + 1) if len(rows) else []


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
        modality=name,
    )
