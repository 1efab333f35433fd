"""Classes that want splitting: their rows fall into two clusters with a gap between them."""

from __future__ import annotations

import numpy as np
import torch

from cache.shares import percent
from heads.audit.evidence import Evidence
from heads.audit.finding import Finding

__all__ = ["APART", "ashman_d", "find_class_halves", "two_means"]

APART = 6.0  # Ashman's D; two normal distributions are apart from 2 on, but halves of one have 2.6, and kinds are many
LEAST_ROWS, MOST_ROWS = 40, 512  # of a class that are looked at
LEAST_SHARE = 0.1  # of the smaller cluster
N_STEPS = 10
N_SHOWN = 3


def find_class_halves(evidence: Evidence, *, most_findings: int, seed: int = 0) -> tuple[list[Finding], int]:
    """Return classes whose rows of some modality are two clusters, the ones farthest apart first, and how many.

    Two means are fitted on one half of the rows, and the gap between them is measured on the other half: along the line
    that was fitted to them any rows fall apart.
    """
    generator = np.random.default_rng(seed)
    findings: list[Finding] = []
    for name, nearest in evidence.nearest.items():
        rows = np.flatnonzero(nearest.is_compared)
        rows = generator.permutation(rows)
        rows = rows[np.argsort(evidence.targets[rows], kind="stable")]
        for class_rows in np.split(rows, np.flatnonzero(np.diff(evidence.targets[rows])) + 1):
            if len(class_rows) >= LEAST_ROWS:
                finding = _split_finding(evidence, name, class_rows[:MOST_ROWS], n_rows=len(class_rows))
                findings += [] if finding is None else [finding]
    findings.sort(key=lambda finding: -finding.score)
    return findings[:most_findings], len(findings)


def two_means(vectors: np.ndarray) -> np.ndarray:
    """Return the centres of two clusters, (2, D), by k-means.

    It starts from the two sides of the mean along the first principal component.

    Shape:
        vectors: (n, D) float32
    """
    centred = vectors - vectors.mean(0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    sides = centred @ direction > 0
    if sides.all() or not sides.any():  # rounding alone
        return np.stack([vectors.mean(0)] * 2)
    for _ in range(N_STEPS):
        centres = np.stack([vectors[sides == side].mean(0) for side in (False, True)])
        new_sides = _sides(vectors, centres)
        if new_sides.all() or not new_sides.any() or (new_sides == sides).all():
            break
        sides = new_sides
    return centres


def ashman_d(values: np.ndarray, sides: np.ndarray) -> float:
    """Return how far two samples of numbers are apart, in their deviations (Ashman, Bird and Zepf, 1994).

    Shape:
        values: (n,)
        sides: (n,) bool, the sample that each value belongs to
    """
    first_sample, second_sample = values[~sides], values[sides]
    spread = float(first_sample.var() + second_sample.var())
    return float(np.sqrt(2) * abs(first_sample.mean() - second_sample.mean()) / np.sqrt(max(spread, 1e-12)))


def _split_finding(evidence: Evidence, name: str, rows: np.ndarray, *, n_rows: int) -> Finding | None:
    """Return a finding on the rows of one class if they are two clusters, else None."""
    vectors = evidence.vectors.inputs[name][torch.from_numpy(rows)].numpy()
    half = len(rows) // 2
    if not vectors[:half].std(axis=0).any():
        return None
    centres = two_means(vectors[:half])
    axis = centres[1] - centres[0]
    sides = _sides(vectors, centres)
    held_out = sides[half:]
    share = float(held_out.mean())
    if min(share, 1 - share) < LEAST_SHARE:
        return None
    distance = ashman_d(vectors[half:] @ axis, held_out)
    if distance < APART:
        return None
    shown = [rows[_nearest_to(vectors, centre)[:N_SHOWN]].tolist() for centre in centres]
    label = evidence.label(int(evidence.targets[rows[0]]))
    words = (
        f"{label} ({n_rows:,} products) is of two kinds by its {name}, {percent(1 - share, 0)} and {percent(share, 0)} "
        f"% of it, {distance:.1f} deviations apart."
    )
    return Finding(kind="split", score=distance, words=words, given=label, others=[*shown[0], *shown[1]], modality=name)


def _sides(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return whether each row is nearer to the second centre, (n,) bool."""
    middle = centres.mean(0)
    return (vectors - middle) @ (centres[1] - centres[0]) > 0


def _nearest_to(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.argsort(np.linalg.norm(vectors - centre, axis=1), kind="stable")
