"""The rows whose whole answers are looked at, a probability a class: where there are very many, some that are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heads.data.splitting.splits import Split
from heads.head_types import head_type
from heads.settings import FITTED_WEIGHTS, ProblemSettings

__all__ = ["few_rows", "few_rows_notes"]

FITTED_CELLS = 2**24  # rows times classes that weights are fitted on, in float64 and several copies


def few_rows(
    rows: np.ndarray, *, n_classes: int, generator: np.random.Generator, most_cells: int | None = None
) -> np.ndarray:
    """Return the rows whose whole answers are looked at: all, or as many at random as have so many probabilities.

    Shape:
        rows: (n,) int64
        output: (m,) int64, in their order
    """
    most_rows = _most_rows(n_classes, most_cells)
    return rows if len(rows) <= most_rows else rows[np.sort(generator.choice(len(rows), most_rows, replace=False))]


def few_rows_notes(
    settings: ProblemSettings, folds: Sequence[Split], *, fusions: Sequence[str], n_classes: int
) -> list[str]:
    """Return a note where weights or guards will be fitted, or swept, on some rows of a side alone."""
    is_late = settings.weights in FITTED_WEIGHTS and "late" in fusions
    is_guarded = getattr(settings, "guard", False) and bool(fusions)
    ensembles = [name for name in fusions if head_type(name).averages_fusions]
    who = " and ".join(["late's weights"] * is_late + ensembles + ["guards"] * is_guarded)
    n_by_side = {
        "validation": max(len(fold.validation) for fold in folds) if who else 0,
        "test": max(len(fold.test) for fold in folds) if is_late and settings.weights == "sweep" else 0,
    }
    most_rows = _most_rows(n_classes, None)
    shown = " and ".join(
        f"{most_rows} of the {n_rows} {side} rows" for side, n_rows in n_by_side.items() if n_rows > most_rows
    )
    return [f"{who} look at {shown}, drawn by the seed: all answers to more take too much memory."] if shown else []


def _most_rows(n_classes: int, most_cells: int | None) -> int:
    return max(1, (most_cells or FITTED_CELLS) // n_classes)
