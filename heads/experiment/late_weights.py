"""How late fusion averages: weights as given, fitted, or swept; all by validation rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heads.experiment.problem import Problem
from heads.experiment.weight_sweep import SweepPoint, sweep_simplex
from heads.modules.mixture import Mixture, fit_mixture
from heads.settings import FITTED_WEIGHTS

__all__ = ["Averaging", "choose_averaging", "sweep_rows", "weights_in_words", "write_sweep"]

SWEEP_STEPS = {2: 0.05, 3: 0.1}  # by the number of modalities: 21 and 66 points
COARSE_STEP = 0.2


@dataclass(frozen=True)
class Averaging:
    """What late fusion averages with, and what its weights could have been."""

    mixture: Mixture
    validation_points: list[SweepPoint] = field(default_factory=list)


def choose_averaging(
    wish: str | None,
    log_probabilities: Mapping[str, Tensor],
    problem: Problem,
    *,
    weights: Mapping[str, float],
    generator: np.random.Generator,
    n_resamples: int,
) -> Averaging:
    """Return how to average the single heads' answers: with the weights given, or with those that are wished for.

    ``auto`` fits weights and temperatures, ``sweep`` takes the weights of best macro-F1, then accuracy, then log loss.
    Both look at the validation rows alone. The members did not learn from these, but were stopped by them, so that
    each looks a little better and surer there than elsewhere, all alike: weights compare the members fairly, the
    temperatures come out slightly low.

    Shape:
        log_probabilities: {modality: (N, K)}
    """
    if wish not in FITTED_WEIGHTS:
        return Averaging(Mixture.of(weights))
    if wish == "auto":
        own = _of_rows(log_probabilities, problem, problem.split.validation)
        groups = torch.from_numpy(problem.groups[problem.split.validation])
        return Averaging(fit_mixture(*own, groups=groups, generator=generator, n_resamples=n_resamples))
    points = sweep_rows(log_probabilities, problem, problem.split.validation)
    best = max(points, key=lambda point: (point.macro_f1, point.accuracy, -point.log_loss))
    return Averaging(Mixture.of(best.weights), points)


def sweep_rows(log_probabilities: Mapping[str, Tensor], problem: Problem, rows: np.ndarray) -> list[SweepPoint]:
    """Return the scores of all weights on some rows; the weights are the same for any.

    Shape:
        log_probabilities: {modality: (N, K)}
        rows: (n,) int64
    """
    step = SWEEP_STEPS.get(len(problem.vectors.dims), COARSE_STEP)
    own = _of_rows(log_probabilities, problem, rows)
    return sweep_simplex(*own, n_classes=len(problem.labels.classes), step=step)


def weights_in_words(weights: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    """Return late fusion's weights as they are told; those that were fitted have intervals."""
    if not intervals:
        return ", ".join(f"{name} {weight:.3g}" for name, weight in weights.items())
    if set(intervals.values()) == {(0.0, 1.0)}:  # `fit_mixture` had nothing to go by
        alike = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        return f"{alike}: equal, because the validation rows do not tell the members apart from chance"
    shown = (
        f"{name} {weight:.2f} [{intervals[name][0]:.2f}, {intervals[name][1]:.2f}]" for name, weight in weights.items()
    )
    return ", ".join(shown) + ", fitted on the validation rows"


def write_sweep(path: Path, averaging: Averaging, test_points: Sequence[SweepPoint]) -> None:
    """Write one CSV line a choice of weights: its validation scores, which chose, and test scores, which did not."""
    fields = ("accuracy", "macro_f1", "log_loss")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = list(averaging.mixture.weights)
        sides = ("validation", "test")
        writer.writerow([*(f"weight_{name}" for name in names), *(f"{side}_{one}" for side in sides for one in fields)])
        for points in zip(averaging.validation_points, test_points, strict=True):
            weights = [f"{points[0].weights[name]:g}" for name in names]
            writer.writerow([*weights, *(f"{getattr(point, one):.6f}" for point in points for one in fields)])


def _of_rows(
    log_probabilities: Mapping[str, Tensor], problem: Problem, chosen: np.ndarray
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Return the answers, the presence and the classes of some rows."""
    rows = torch.from_numpy(chosen)
    answers = {name: log_probabilities[name][rows] for name in problem.vectors.dims}
    present = {name: problem.vectors.present[name][rows] for name in answers}
    return answers, present, torch.from_numpy(problem.labels.codes)[rows]
