"""Late fusion of trained heads: weights are fixed, or fitted or swept by validation rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cache.system.stray_bytes import open_csv
from heads.data.draws import generator_of
from heads.data.vectors import Vectors
from heads.experiment.problem import Problem
from heads.experiment.weight_sweep import SweepPoint, sweep_simplex
from heads.modules.late import parse_weights
from heads.modules.mixture import Mixture, fit_mixture
from heads.settings import FITTED_WEIGHTS

__all__ = [
    "Averaging",
    "MemberAnswers",
    "Weighting",
    "choose_averaging",
    "sweep",
    "weights_in_words",
    "write_sweep",
]


SWEEP_STEPS = {2: 0.05, 3: 0.1}  # by the number of modalities: 21 and 66 points
COARSE_STEP = 0.2


@dataclass(frozen=True)
class MemberAnswers:
    """What the single heads answer to n rows whose classes are known.

    Shape:
        log_probabilities: {modality: (n, K)}
        present: {modality: (n,) bool}
        targets, groups: (n,) int64
    """

    log_probabilities: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor
    groups: Tensor

    @classmethod
    def of(
        cls, log_probabilities: Mapping[str, Tensor], rows: np.ndarray, *, problem: Problem, vectors: Vectors
    ) -> MemberAnswers:
        """Return the answers to some rows of a problem, with what is known of these.

        Shape:
            rows: (n,) int64
        """
        row_indices = torch.from_numpy(rows)
        return cls(
            log_probabilities,
            {name: vectors.present[name][row_indices] for name in log_probabilities if name in vectors.present},
            torch.from_numpy(problem.labels.targets)[row_indices],
            torch.from_numpy(problem.groups)[row_indices],
        )


@dataclass(frozen=True)
class Weighting:
    """How late fusion comes to its weights."""

    fixed: Mapping[str, float]  # where they are not fitted
    fitted: str | None = None  # "auto", "sweep", or None: as given
    n_resamples: int = 0  # that tell how sure fitted weights are
    seed: int = 0

    @classmethod
    def parse(cls, text: str | None, modalities: Sequence[str], *, n_resamples: int = 0, seed: int = 0) -> Weighting:
        """Return what the option ``--weights`` says.

        Raises:
            SettingError: it says no weight for each modality.
        """
        fitted = text if text in FITTED_WEIGHTS else None
        return cls(parse_weights(None if fitted else text, modalities), fitted, n_resamples, seed)


@dataclass(frozen=True)
class Averaging:
    """What late fusion averages with, and what its weights could have been."""

    mixture: Mixture
    validation_points: list[SweepPoint] = field(default_factory=list)


def choose_averaging(weighting: Weighting, answers_to: Callable[[str], MemberAnswers]) -> Averaging:
    """Return how to average the single heads' answers, which `answers_to` returns for a side of the split.

    ``auto`` fits weights and temperatures, ``sweep`` takes the weights of best macro-F1, then accuracy, then log loss.
    Both look at the validation rows alone. The members did not learn from these, but were stopped by them, so that
    each looks a little better and surer there than elsewhere, all alike: weights compare the members fairly, the
    temperatures come out slightly low.
    """
    if weighting.fitted is None:
        return Averaging(Mixture.of(weighting.fixed))
    validation = answers_to("validation")
    if weighting.fitted == "auto":
        generator = generator_of(weighting.seed, "late weights")
        return Averaging(fit_mixture(**vars(validation), generator=generator, n_resamples=weighting.n_resamples))
    points = sweep(validation)
    best = max(points, key=lambda point: (point.macro_f1, point.accuracy, -point.log_loss))
    return Averaging(Mixture.of(best.weights), points)


def sweep(answers: MemberAnswers) -> list[SweepPoint]:
    """Return the scores of all weights on some rows; the weights are the same for any."""
    step = SWEEP_STEPS.get(len(answers.log_probabilities), COARSE_STEP)
    return sweep_simplex(answers.log_probabilities, answers.present, answers.targets, step=step)


def weights_in_words(weights: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    """Return late fusion's weights in words; those that were fitted have intervals."""
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
    with open_csv(path) as file:
        writer = csv.writer(file)
        names = list(averaging.mixture.weights)
        sides = ("validation", "test")
        writer.writerow(
            [*(f"weight_{name}" for name in names), *(f"{side}_{score}" for side in sides for score in fields)]
        )
        for points in zip(averaging.validation_points, test_points, strict=True):
            weights = [f"{points[0].weights[name]:g}" for name in names]
            writer.writerow([*weights, *(f"{getattr(point, score):.6f}" for point in points for score in fields)])
