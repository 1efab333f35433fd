"""Logit adjustment of a trained head, with the strength that its validation rows choose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from heads.modules.fitting.logit_adjustment import fit_strength, shift_logits
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["adjust"]

TRIED_ROWS = 64  # on which the adjusted head is tried


def adjust(
    head: TrainedHead,
    log_shares: Tensor,
    *,
    rows: np.ndarray,
    targets: np.ndarray,
    answers_to: Callable[[np.ndarray], Tensor],
) -> float:
    """Adjust a head's logits, in place, and return the strength; 0 leaves it as it is.

    `answers_to` returns the head's log-probabilities for rows, (n, K).

    Shape:
        log_shares: (K,), of the training rows
        rows: (n,) int64, validation rows
        targets: (n,) int64, their classes

    Raises:
        HeadError: the head cannot be adjusted.
    """
    strength = fit_strength(answers_to(rows), targets, log_shares)
    if strength:
        shift_logits(head.module, -strength * log_shares, lambda: answers_to(rows[:TRIED_ROWS]))
    return strength
