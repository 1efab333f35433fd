"""What an audit's detectors look at: the problem, what heads say out of fold, and each row's nearest rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heads.audit.audit_settings import AuditSettings
from heads.audit.finding import Votes
from heads.audit.nearest import Nearest, find_nearest
from heads.audit.out_of_fold import OutOfFold, ask_out_of_fold
from heads.data.vectors import Vectors
from heads.experiment.problem import Problem

__all__ = ["Evidence", "gather_evidence"]


@dataclass(frozen=True)
class Evidence:
    """What the detectors look at; rows without a class take part in nothing."""

    problem: Problem
    vectors: Vectors
    out_of_fold: OutOfFold
    nearest: Mapping[str, Nearest]  # by modality

    @property
    def targets(self) -> np.ndarray:
        """Each row's class, -1 where it has none, (N,) int64."""
        return self.problem.labels.targets

    def label(self, target: int) -> str:
        """Return a class's name, "" for none."""
        return self.problem.labels.classes[target] if target >= 0 else ""

    def votes(self, row: int, suggested: int | None) -> dict[str, Votes]:
        """Return how a row's nearest vote on its label and on a suggested one, if any, {modality: votes}."""
        votes = {}
        for name, nearest in self.nearest.items():
            rows = nearest.rows[row][nearest.rows[row] >= 0]
            if len(rows):
                neighbour_targets = self.targets[rows]
                n_suggested = None if suggested is None else int((neighbour_targets == suggested).sum())
                votes[name] = Votes(int((neighbour_targets == self.targets[row]).sum()), n_suggested, rows.tolist())
        return votes


def gather_evidence(problem: Problem, settings: AuditSettings) -> Evidence:
    """Train heads, compare every row with every other, and return the evidence.

    Raises:
        HeadError, LabelError: a head cannot be trained.
    """
    out_of_fold = ask_out_of_fold(problem, settings)
    vectors, targets = problem.joint_vectors(problem.combinations[0], 0), problem.labels.targets
    nearest = {}
    for name in vectors.inputs:
        usable = targets >= 0
        for placeholder in problem.placeholders:
            if placeholder.modality == name:
                usable[placeholder.rows] = False  # the same content under many classes is nobody's neighbour
        nearest[name] = find_nearest(
            vectors, name, usable=usable, targets=targets, groups=problem.groups, k=settings.n_neighbours
        )
    return Evidence(problem, vectors, out_of_fold, nearest)
