"""What is kept of one training of an ablation: its answers on the test rows, its scores, how it got there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from heads.data.splits import Split
from heads.metrics.registry import measure

__all__ = ["Outcome", "failed", "outcome_of"]


@dataclass(frozen=True)
class Outcome:
    """What came of a job, small enough to keep for thousands: or why nothing did.

    Shape:
        answers: (n,) int32, the class answered for each test row
    """

    answers: np.ndarray = field(default_factory=lambda: np.empty(0, dtype="<i4"))
    test: dict[str, float] = field(default_factory=dict)  # score -> value
    validation: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    elapsed_s: float = 0.0
    error: str | None = None


def outcome_of(
    log_probabilities: np.ndarray,
    codes: np.ndarray,
    split: Split,
    *,
    best_epoch: int,
    history: list[dict[str, float]],
    elapsed_s: float,
) -> Outcome:
    """Return what came of a job from its answers on the validation rows and the test rows behind them.

    Shape:
        log_probabilities: (n_validation + n_test, K) float32
        codes: (N,) int64, the class of each row of the catalogue
    """
    probabilities = np.exp(log_probabilities)
    n_validation = len(split.validation)
    own = codes[split.test]
    test = probabilities[n_validation:]
    return Outcome(
        answers=test.argmax(1).astype("<i4"),
        test=measure(own, test),
        validation=measure(codes[split.validation], probabilities[:n_validation]),
        best_epoch=best_epoch,
        history=history,
        elapsed_s=elapsed_s,
    )


def failed(error: Exception) -> Outcome:
    """Return what came of a job that did not converge."""
    return Outcome(error=str(error))
