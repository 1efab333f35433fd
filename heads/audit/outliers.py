"""Products unlike all others: farther from their nearest rows than is usual in their class."""

from __future__ import annotations

import numpy as np

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding
from heads.audit.nearest import Nearest

__all__ = ["FAR", "find_outliers", "too_small_notes"]

FAR = 5.0  # deviations above the median of the class
DEVIATION = 1.4826  # of a normal distribution, by the median of absolute differences from the median
LEAST_DEVIATION = 0.01  # of distances, which are from 0 to 2
LEAST_ROWS = 6  # of a class, copies counted once, for it to have outliers
ENOUGH_ROWS = 20  # from which on a class's deviation is that of its rows alone


def find_outliers(evidence: Evidence, *, most_findings: int) -> tuple[list[Finding], int]:
    """Return the rows that are far from their nearest in some modality, the farthest first, and how many."""
    n_rows = len(evidence.targets)
    worst, worst_modality = np.full(n_rows, -np.inf), np.full(n_rows, -1)
    distances = {name: _distances(nearest) for name, nearest in evidence.nearest.items()}
    for index, values in enumerate(distances.values()):
        deviations = _deviations(values, evidence)
        is_worse = deviations > worst
        worst, worst_modality = np.where(is_worse, deviations, worst), np.where(is_worse, index, worst_modality)
    rows = np.flatnonzero(worst >= FAR)
    rows = rows[np.argsort(-worst[rows], kind="stable")]
    names = list(distances)
    listed = [(row, names[worst_modality[row]]) for row in rows[:most_findings].tolist()]
    return [_finding(evidence, row, name, distances[name], float(worst[row])) for row, name in listed], len(rows)


def too_small_notes(evidence: Evidence) -> list[str]:
    """Return notes on the classes that have too few rows of a modality to tell outliers by."""
    modalities_by_classes: dict[tuple[int, ...], list[str]] = {}  # the modalities in which the same are too small
    for name, nearest in evidence.nearest.items():
        counts = np.zeros(len(evidence.problem.labels.classes), dtype=np.int64)
        for rows in _rows_by_class(_distances(nearest), evidence):
            counts[evidence.targets[rows[0]]] = len(np.unique(evidence.problem.groups[rows]))
        if len(small := np.flatnonzero(counts < LEAST_ROWS)):
            modalities_by_classes.setdefault(tuple(small.tolist()), []).append(name)
    notes = []
    for classes, names in modalities_by_classes.items():
        by_modalities = "" if len(names) == len(evidence.nearest) else f" by {' and '.join(names)}"
        shown = ", ".join([*map(evidence.label, classes[:3]), *(["…"] if len(classes) > 3 else [])])
        notes.append(
            f"Outliers{by_modalities} are not looked for in {len(classes)} "
            f"{'class' if len(classes) == 1 else 'classes'} of fewer than {LEAST_ROWS} different products: {shown}."
        )
    return notes


def _distances(nearest: Nearest) -> np.ndarray:
    """Return the mean distance of each row to its nearest, 1 minus the cosine, (N,); NaN where it has none."""
    is_found = nearest.rows >= 0
    counts = is_found.sum(1)
    sums = np.where(is_found, 1 - nearest.cosines, 0).sum(1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _deviations(distances: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Return how many deviations each row is above its class's median, (N,); -inf where its class has too few rows.

    A row of a small class is compared with the class's other rows, by their deviation or by that of all classes
    together, whichever is greater: among few distances, some are far from the others by chance. Copies count once.
    """
    deviations = np.full(len(distances), -np.inf)
    pooled = LEAST_DEVIATION
    classes = []
    for rows in _rows_by_class(distances, evidence):
        firsts, inverse = np.unique(evidence.problem.groups[rows], return_index=True, return_inverse=True)[1:]
        if len(firsts) >= LEAST_ROWS:
            classes.append((rows, distances[rows[firsts]], inverse))
    if classes:
        differences = [np.abs(values - np.median(values)) for _, values, _ in classes]
        pooled = max(DEVIATION * float(np.median(np.concatenate(differences))), LEAST_DEVIATION)
    for rows, values, inverse in classes:
        references, least_spread = values[None], LEAST_DEVIATION  # (1, n), the same for all rows
        if len(values) < ENOUGH_ROWS:
            is_other = ~np.eye(len(values), dtype=bool)
            references = np.broadcast_to(values, is_other.shape)[is_other].reshape(len(values), -1)  # (n, n - 1)
            least_spread = pooled
        middles = np.median(references, axis=1)
        spreads = np.maximum(DEVIATION * np.median(np.abs(references - middles[:, None]), axis=1), least_spread)
        middles, spreads = (np.broadcast_to(numbers, len(values))[inverse] for numbers in (middles, spreads))
        deviations[rows] = (distances[rows] - middles) / spreads
    return deviations


def _rows_by_class(distances: np.ndarray, evidence: Evidence) -> list[np.ndarray]:
    """Return the rows of each class that have a distance."""
    targets = evidence.targets
    rows = np.flatnonzero(~np.isnan(distances) & (targets >= 0))
    rows = rows[np.argsort(targets[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(targets[rows])) + 1) if len(rows) else []


def _finding(evidence: Evidence, row: int, name: str, distances: np.ndarray, deviations: float) -> Finding:
    out_of_fold, target = evidence.out_of_fold, int(evidence.targets[row])
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
        given_probability=float(out_of_fold.given_probabilities[row]) if out_of_fold.is_tested[row] else None,
        others=nearest[nearest >= 0][:3].tolist(),
        modality=name,
    )
