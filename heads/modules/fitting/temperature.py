"""The temperature that makes logits say how sure they ought to be."""

from __future__ import annotations

import math

from torch import Tensor

from heads.errors import HeadError

__all__ = ["GREATEST_TEMPERATURE", "LEAST_TEMPERATURE", "fit_temperature"]

LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 1e-3, 1e3


def fit_temperature(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
    """Return the temperature at which the mean negative log-likelihood of the targets is least (arXiv 1706.04599).

    A row's class counts for 1 - 1/(N + 2) and all classes alike for the rest (label smoothing, by as much as Platt
    takes from the certainty of N rows), so that few rows whose answers are all right make no answer certain. The loss
    is convex in 1 / temperature, so that its slope has one root; where there is none between 0.001 and 1000, the nearer
    of these is returned: the first where right logits hardly differ, the last where they tell nothing.

    Shape:
        logits: (N, K)
        targets: (N,) int64
        weights: (N,) how often each row counts, of a positive sum; None: once

    Raises:
        HeadError: there is no row, or a logit is not finite.

    >>> import torch
    >>> logits = torch.tensor([[1.0, 0.0]] * 4)
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 4)  # sigmoid(1 / T) is 3/4 * 5/6 + 1/2 * 1/6
    1.127
    """
    from scipy.optimize import brentq

    if not len(targets) or not logits.isfinite().all():
        raise HeadError(f"A temperature needs rows of finite logits, but got {len(targets)} rows or infinite ones.")
    margins = logits.double()
    n_rows = len(targets) if weights is None else float(weights.sum())
    share = 1 / (n_rows + 2)
    references = margins.gather(1, targets[:, None]).lerp(margins.mean(1, keepdim=True), share)  # (N, 1)
    margins = margins - references  # (N, K), how far above the smoothed logit of the row's class

    def slope(log_temperature: float) -> float:
        slopes = ((margins * math.exp(-log_temperature)).softmax(1) * margins).sum(1)  # (N,)
        return float(slopes.mean() if weights is None else slopes @ weights.to(slopes) / weights.sum())

    lowest, highest = math.log(LEAST_TEMPERATURE), math.log(GREATEST_TEMPERATURE)
    if slope(highest) >= 0:
        return GREATEST_TEMPERATURE
    if slope(lowest) <= 0:  # the logits differ too little
        return LEAST_TEMPERATURE
    return math.exp(brentq(slope, lowest, highest, xtol=1e-9))
