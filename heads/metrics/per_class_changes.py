"""Which classes a fusion predicts better than a single modality, and which worse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heads.metrics.score_interval import wilson_interval

__all__ = ["ClassChange", "ClassTally", "tally_classes"]

N_SHOWN = 3


@dataclass(frozen=True)
class ClassChange:
    """One class: its test rows, those that only one of the two has right, and both recalls with their intervals."""

    name: str
    support: int
    n_won: int
    n_lost: int
    recall: tuple[float, float, float]  # with its 95 % interval
    other_recall: tuple[float, float, float]


@dataclass(frozen=True)
class ClassTally:
    """How many classes have more rows right, fewer, and as many; and those that change most, by rows."""

    n_won: int
    n_lost: int
    n_tied: int
    gains: list[ClassChange]
    losses: list[ClassChange]


def tally_classes(
    targets: np.ndarray, predictions: np.ndarray, other_predictions: np.ndarray, classes: list[str]
) -> ClassTally:
    """Return in which classes a head has more rows right than another; classes without a row are in no count.

    Shape:
        targets, predictions, other_predictions: (n,) int64
    """
    is_right, other_is_right = predictions == targets, other_predictions == targets

    def counts(rows: np.ndarray) -> np.ndarray:
        return np.bincount(targets[rows], minlength=len(classes))  # (K,)

    support = np.bincount(targets, minlength=len(classes))
    won, lost = counts(is_right & ~other_is_right), counts(~is_right & other_is_right)
    n_right, other_n_right = counts(is_right), counts(other_is_right)
    net = won - lost

    def changes(class_order: np.ndarray) -> list[ClassChange]:
        return [
            ClassChange(
                classes[n], int(support[n]), int(won[n]), int(lost[n]),
                wilson_interval(int(n_right[n]), int(support[n])),
                wilson_interval(int(other_n_right[n]), int(support[n])),
            )
            for n in class_order[:N_SHOWN]
        ]  # fmt: skip

    order = np.argsort(-net, kind="stable")
    return ClassTally(
        n_won=int((net > 0).sum()),
        n_lost=int((net < 0).sum()),
        n_tied=int(((net == 0) & (support > 0)).sum()),
        gains=changes(order[net[order] > 0]),
        losses=changes(np.argsort(net, kind="stable")[: int((net < 0).sum())]),
    )
