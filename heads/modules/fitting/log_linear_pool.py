"""Weights of logits that are added up: those of least log loss, none negative."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Pool", "fit_pool"]

LEAST, MOST = 1e-3, 1e3  # of the sum of weights, and of a weight


class Pool(NamedTuple):
    """Weights of sums of logits, (M,) float64, non-negative; and the log loss that is left, smoothed."""

    weights: Tensor
    log_loss: float


def fit_pool(logits: Tensor, targets: Tensor, *, seen_classes: Tensor, row_weights: Tensor) -> Pool:
    """Return the weights at which the logits, added up, have the least log loss.

    The weight of one member alone is one divided by its temperature.

    The loss is convex. A row's class counts for 1 - 1/(n + 2) and all classes for the rest (Platt's smoothing), so that
    the weights stay finite where every answer is right. Where all come to nothing they are equal.

    Shape:
        logits: (n, M, K)
        targets: (n,) int64, each one of the row's `seen_classes`
        seen_classes: (n, K) bool, the classes that are compared
        row_weights: (n,) non-negative
    """
    from scipy.optimize import minimize

    n_rows, n_members, _ = logits.shape
    if not n_rows:
        return Pool(logits.new_full((n_members,), 1 / n_members, dtype=torch.float64), math.inf)
    answers = torch.where(seen_classes[:, None], logits.double(), 0.0)
    share = 1 / (n_rows + 2)
    hits = answers.gather(2, targets[:, None, None].expand(-1, n_members, 1))[:, :, 0]  # (n, M)
    smoothed = (1 - share) * hits + share * answers.sum(2) / seen_classes.sum(1, keepdim=True)
    counts = row_weights.double() / row_weights.sum()

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(point)
        added = torch.einsum("nmk,m->nk", answers, weights).masked_fill(~seen_classes, -torch.inf)
        probabilities = added.softmax(1)
        slopes = torch.einsum("nk,nmk->nm", probabilities, answers) - smoothed
        value = counts @ (added.logsumexp(1) - smoothed @ weights)
        return float(value), (counts @ slopes).numpy()

    start = np.full(n_members, 1 / n_members)
    solution = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, MOST)] * n_members, tol=1e-9)
    best = solution.x if solution.x.sum() >= LEAST else start
    return Pool(torch.from_numpy(best), loss(best)[0])
