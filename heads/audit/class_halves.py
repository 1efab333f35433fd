"""Classes that want splitting: their rows fall into two clusters with a gap between them."""

from __future__ import annotations

import numpy as np
import torch

from heads.audit.evidence import Evidence
from heads.audit.finding import Finding

__all__ = ["APART", "ashman_d", "find_class_halves", "two_means"]

APART = 6.0  # Ashman's D; two normal distributions are apart from 2 on, but halves of one have 2.6, and kinds are many
LEAST_ROWS, MOST_ROWS = 40, 512  # of a class that are looked at
LEAST_SHARE = 0.1  # of the smaller cluster
N_STEPS = 10
N_SHOWN = 3


def find_class_halves(evidence: Evidence, *, most: int, seed: int = 0) -> tuple[list[Finding], int]:
    """Return classes whose rows of some modality are two clusters, the ones farthest apart first.

    Two means are fitted on one half of the rows, and the gap between them is measured on the other, as any rows fall
    apart along the line that was fitted to them.
    """
    generator = np.random.default_rng(seed)
    findings: list[Finding] = []
    for name, nearest in evidence.nearest.items():
        rows = np.flatnonzero(nearest.is_known)
        rows = generator.permutation(rows)
        rows = rows[np.argsort(evidence.targets[rows], kind="stable")]
        for of_class in np.split(rows, np.flatnonzero(np.diff(evidence.targets[rows])) + 1):
            if len(of_class) >= LEAST_ROWS:
                findings += _halves(evidence, name, of_class[:MOST_ROWS], n_rows=len(of_class))
    findings.sort(key=lambda one: -one.score)
    return findings[:most], len(findings)


def two_means(vectors: np.ndarray) -> np.ndarray:
    """Return the centres of two clusters, (2, D), from a start on both sides of the first principal component.

    Shape:
        vectors: (n, D) float32
    """
    centred = vectors - vectors.mean(0)
    first = np.linalg.svd(centred, full_matrices=False)[2][0]
    sides = centred @ first > 0
    if sides.all() or not sides.any():  # rounding alone
        return np.stack([vectors.mean(0)] * 2)
    for _ in range(N_STEPS):
        centres = np.stack([vectors[sides == side].mean(0) for side in (False, True)])
        nearer = _sides(vectors, centres)
        if nearer.all() or not nearer.any() or (nearer == sides).all():
            break
        sides = nearer
    return centres


def ashman_d(values: np.ndarray, sides: np.ndarray) -> float:
    """Return how far two samples of numbers are apart, in their deviations (Ashman, Bird and Zepf, 1994).

    Shape:
        values: (n,)
        sides: (n,) bool, which sample each is of
    """
    left, right = values[~sides], values[sides]
    spread = float(left.var() + right.var())
    return float(np.sqrt(2) * abs(left.mean() - right.mean()) / np.sqrt(max(spread, 1e-12)))


def _halves(evidence: Evidence, name: str, rows: np.ndarray, *, n_rows: int) -> list[Finding]:
    """Return a finding on the rows of one class, if they are two clusters; else none."""
    vectors = evidence.vectors.inputs[name][torch.from_numpy(rows)].numpy()
    half = len(rows) // 2
    if not vectors[:half].std(axis=0).any():
        return []
    centres = two_means(vectors[:half])
    line = centres[1] - centres[0]
    sides = _sides(vectors, centres)
    held_out = sides[half:]
    share = float(held_out.mean())
    if min(share, 1 - share) < LEAST_SHARE:
        return []
    apart = ashman_d(vectors[half:] @ line, held_out)
    if apart < APART:
        return []
    shown = [rows[_nearest_to(vectors, centre)[:N_SHOWN]].tolist() for centre in centres]
    given = evidence.label(int(evidence.targets[rows[0]]))
    words = (
        f"{given} ({n_rows:,} products) is of two kinds by its {name}, {100 * (1 - share):.0f} and {100 * share:.0f} % "
        f"of it, {apart:.1f} deviations apart."
    )
    return [Finding(kind="split", score=apart, words=words, given=given, others=[*shown[0], *shown[1]], modality=name)]


def _sides(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return whether each row is nearer to the second centre, (n,) bool."""
    middle = centres.mean(0)
    return (vectors - middle) @ (centres[1] - centres[0]) > 0


def _nearest_to(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.argsort(np.linalg.norm(vectors - centre, axis=1), kind="stable")
