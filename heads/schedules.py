"""The schedules of the learning rate: which share of it a head takes at a step. None of them imports torch.

A new schedule is a function ``(progress, n_stalls) -> share``, and an entry below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["SCHEDULES", "count_stalls", "share_of_rate"]

FALL = 0.1  # what plateau leaves of the rate at a stall, as torch's ReduceLROnPlateau does

SCHEDULES: Mapping[str, Callable[[float, int], float]] = {
    "none": lambda _progress, _n_stalls: 1.0,
    "cosine": lambda progress, _n_stalls: 0.5 * (1 + math.cos(math.pi * progress)),  # arXiv 1608.03983
    "plateau": lambda _progress, n_stalls: FALL**n_stalls,
}


def share_of_rate(schedule: str, step: int, *, n_warmup: int, n_steps: int, n_stalls: int) -> float:
    """Return the share of its learning rate that a head takes at a step, counted from 0.

    Through `n_warmup` steps it rises evenly. What the schedule calls progress begins at 0 after them, and would be 1
    after `n_steps` steps in all.

    >>> [share_of_rate("cosine", step, n_warmup=2, n_steps=6, n_stalls=0) for step in (0, 1, 2, 4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if step < n_warmup:
        return (step + 1) / n_warmup
    return SCHEDULES[schedule]((step - n_warmup) / max(1, n_steps - n_warmup), n_stalls)


def count_stalls(scores: Sequence[Any], *, patience: int) -> int:
    """Return how often `patience` epochs in a row had no better score than the best before them.

    >>> count_stalls([1, 3, 2, 3, 2, 2, 4, 1], patience=2)
    2
    """
    n_stalls, n_waited = 0, 0
    best = None
    for score in scores:
        if best is None or score > best:
            best, n_waited = score, 0
            continue
        n_waited += 1
        if n_waited == patience:
            n_stalls, n_waited = n_stalls + 1, 0
    return n_stalls
