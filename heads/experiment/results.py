"""The result of a job: a head and its answers; and the outcome that an ablation keeps of it, its scores and history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from heads.metrics.registry import measure

if TYPE_CHECKING:
    from heads.data.splitting.splits import Split
    from heads.experiment.late_fusion import Averaging
    from heads.metrics.answers import Answers
    from heads.modules.saving.saved_head import TrainedHead

__all__ = ["Outcome", "Trained", "failed", "outcome_of"]


@dataclass(frozen=True)
class Trained:
    """What came of a job: a head, how it got there, and what it answers to each side of the split."""

    head: TrainedHead
    answers: Mapping[str, Answers]
    elapsed_s: float  # of late fusion that of its members
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)  # an epoch: losses, and macro-F1 on validation rows
    averaging: Averaging | None = None  # of late fusion
    logit_adjustment: float | None = None  # where the validation rows chose it


@dataclass(frozen=True)
class Outcome:
    """What came of a job, small enough to keep for thousands: or why nothing did.

    Shape:
        predictions: (n,) int32, the class answered for each test row
        validation_predictions: (m,) int32, that for each validation row, by which a race is run
    """

    predictions: np.ndarray = field(default_factory=lambda: np.empty(0, dtype="<i4"))
    test: dict[str, float] = field(default_factory=dict)  # score -> value
    validation: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    elapsed_s: float = 0.0
    error: str | None = None
    validation_predictions: np.ndarray = field(default_factory=lambda: np.empty(0, dtype="<i4"))


def outcome_of(trained: Trained, targets: np.ndarray, split: Split, *, n_classes: int) -> Outcome:
    """Return what is kept of a job.

    Shape:
        targets: (N,) int64, the class of each row of the catalogue
    """
    validation, test = (trained.answers[side] for side in ("validation", "test"))
    return Outcome(
        predictions=test.predictions.astype("<i4"),
        test=measure(test, targets[split.test], n_classes),
        validation=measure(validation, targets[split.validation], n_classes),
        best_epoch=trained.best_epoch,
        history=trained.history,
        elapsed_s=trained.elapsed_s,
        validation_predictions=validation.predictions.astype("<i4"),
    )


def failed(error: Exception) -> Outcome:
    """Return what came of a job that did not converge."""
    return Outcome(error=str(error))
