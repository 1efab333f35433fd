"""Which configurations are certainly behind in macro-F1, predicted from some of the folds for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.metrics.differences import Difference, student_errors

__all__ = ["FoldScores", "Noise", "macro_f1_influences", "measure_noise", "predict_differences"]

N_DRAWS = 4000
BLOCK_CELLS = 2**23  # of multipliers that are drawn at once


@dataclass(frozen=True)
class FoldScores:
    """The macro-F1 of C configurations on the validation rows of a fold, the mean over seeds, and what it hangs on.

    Shape:
        scores: (C,)
        influences: (C, G) float32, by how much each score would rise were a group's rows counted once more
    """

    scores: np.ndarray
    influences: np.ndarray


@dataclass(frozen=True)
class Noise:
    """What another fold does to a configuration's score beyond the rows that it is measured on: another training."""

    variance: float = 0.0  # of a score of one fold
    n_free: int = 0  # degrees of freedom that it is known by


def macro_f1_influences(targets: np.ndarray, predictions: np.ndarray, n_classes: int) -> tuple[float, np.ndarray]:
    """Return the macro-F1 over the classes that occur, and its derivative by the weight of each row, (n,).

    Shape:
        targets, predictions: (n,) int64
    """
    is_hit = targets == predictions
    hits = np.bincount(targets[is_hit], minlength=n_classes)
    either = np.bincount(targets, minlength=n_classes) + np.bincount(predictions, minlength=n_classes)
    n_occurring = max(int((either > 0).sum()), 1)
    f1 = 2 * hits / np.maximum(either, 1)
    share = 1 / np.maximum(either, 1) / n_occurring
    missed = -(f1 * share)[targets] - (f1 * share)[predictions]
    return float(f1.sum() / n_occurring), missed + 2 * is_hit * share[targets]


def measure_noise(families: Sequence[Sequence[FoldScores]]) -> Noise:
    """Return how much scores vary between folds beyond their rows' share, from configurations on the same folds.

    Noise is by how much a configuration's score of a fold is off the sum of the configuration's and the fold's means
    (the interaction of a two-way table), less what the rows alone would make of it.

    Args:
        families: each the same configurations' scores on two folds or more.
    """
    total, of_rows, n_free = 0.0, 0.0, 0
    for folds in families:
        scores = np.stack([fold.scores for fold in folds], axis=1)  # (C, k)
        n_configurations, n_folds = scores.shape
        if n_configurations < 2 or n_folds < 2:
            continue
        residuals = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
        free = (n_configurations - 1) * (n_folds - 1)
        total, n_free = total + float((residuals**2).sum()), n_free + free
        for fold in folds:
            centred = fold.influences - fold.influences.mean(0)
            of_rows += float((centred**2).sum()) / (n_configurations - 1) * free / n_folds
    return Noise(max(0.0, (total - of_rows) / n_free), n_free) if n_free else Noise()


def predict_differences(
    folds: Sequence[FoldScores], *, n_all: int, noise: Noise, risk: float, generator: np.random.Generator
) -> tuple[int, list[Difference]]:
    """Return the index of the best over some folds, and what each one's difference to it may be over all `n_all`.

    The chance that any of these ends above its interval's upper end is `risk` for all together: each has as many
    standard errors to its side as the farthest is off in all but that share of draws (the maximum of studentised
    Gaussian multipliers of rows; Chernozhukov, Chetverikov and Kato, Annals of Statistics 41, 2013), and as many more
    as Student's t has. The best of many is lucky, and the maximum allows for that (Gupta, Technometrics 7, 1965). The
    folds to come are as uncertain as those that were measured, and the latter's share of the mean is known.
    """
    scores = np.mean([fold.scores for fold in folds], axis=0)  # (C,)
    influences = np.mean([fold.influences for fold in folds], axis=0)  # (C, G): folds may share rows
    best, of_training = int(scores.argmax()), noise.variance / len(folds)
    to_best = influences - influences[best]
    errors = np.sqrt((to_best.astype(np.float64) ** 2).sum(1) + 2 * of_training)
    trained = np.sqrt(of_training) * generator.standard_normal((len(scores), N_DRAWS), dtype=np.float32)
    drawn = _products(to_best, generator) + trained - trained[best]
    is_uncertain = errors > 0
    is_uncertain[best] = False
    if not is_uncertain.any():
        return best, [Difference(*[float(score - scores[best])] * 3) for score in scores]
    farthest = (drawn[is_uncertain] / errors[is_uncertain, None]).max(0)
    n_free = min(noise.n_free, to_best.shape[1] - 1)
    half = student_errors(float(np.quantile(farthest, 1 - risk)), n_free) * errors * np.sqrt(1 - len(folds) / n_all)
    values = scores - scores[best]
    return best, [Difference(*map(float, ends)) for ends in zip(values, values - half, values + half, strict=True)]


def _products(influences: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the influences times standard normal multipliers of the groups, (C, R)."""
    n_groups = influences.shape[1]
    products = np.zeros((len(influences), N_DRAWS), dtype=np.float32)
    for start in range(0, n_groups, max(1, BLOCK_CELLS // N_DRAWS)):
        block = influences[:, start : start + max(1, BLOCK_CELLS // N_DRAWS)]
        products += block.astype(np.float32) @ generator.standard_normal((block.shape[1], N_DRAWS), dtype=np.float32)
    return products
