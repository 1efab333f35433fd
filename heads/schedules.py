"""The schedules of the learning rate: which share of it a head takes at a step. None of them imports torch.

A new schedule is an entry below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["SCHEDULES", "Schedule", "count_stalls"]

FALL = 0.1  # what plateau leaves of the rate at a stall, as torch's ReduceLROnPlateau does


def _cosine(progress: float, _n_stalls: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))  # arXiv 1608.03983


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes on, and how long.

    Progress is 0 after the warm-up, and would be 1 after the last step that there may be.
    """

    fall: Callable[[float, int], float]  # (progress, n_stalls) -> the share that is left
    n_epochs: int | None = None  # that it plans where rows are many; None: as many as are allowed
    least_steps: int = 0  # where rows are few, it plans as many epochs as make so many steps
    warmup: float = 0.0  # epochs, at least
    rows_a_rate: float = math.inf  # batches of more rows take a larger rate, in proportion
    falls_at_stalls: bool = False

    def epochs(self, most_epochs: int, *, epoch_steps: int, batch_size: int) -> int:
        """Return how many epochs a training has, with `epoch_steps` in each and `most_epochs` allowed.

        A step at a larger rate counts for as many.

        >>> plan = SCHEDULES["one-cycle"].epochs
        >>> [plan(60, epoch_steps=n, batch_size=size) for n, size in [(12, 16), (30, 128), (16, 512), (48, 512)]]
        [60, 50, 24, 8]
        """
        if self.n_epochs is None:
            return most_epochs
        return min(most_epochs, max(self.n_epochs, math.ceil(self.least_steps / (epoch_steps * self.peak(batch_size)))))

    def rise(self, warmup: float, *, n_epochs: int) -> float:
        """Return through how many epochs the rate rises; of a planned training half at most, so that it falls, too.

        >>> [SCHEDULES[name].rise(10.0, n_epochs=8) for name in ("one-cycle", "cosine")]
        [4.0, 10.0]
        """
        return max(warmup, self.warmup) if self.n_epochs is None else min(max(warmup, self.warmup), n_epochs / 2)

    def peak(self, batch_size: int) -> float:
        """Return which share of the learning rate is the largest.

        >>> [SCHEDULES["one-cycle"].peak(batch_size) for batch_size in (16, 128, 256, 512)]
        [1.0, 1.0, 2.0, 4.0]
        """
        return max(1.0, batch_size / self.rows_a_rate)

    def share(self, step: int, *, n_warmup: int, n_steps: int, n_stalls: int) -> float:
        """Return the share of the largest rate at a step, counted from 0; through `n_warmup` steps it rises evenly.

        >>> [SCHEDULES["cosine"].share(step, n_warmup=2, n_steps=6, n_stalls=0) for step in (0, 1, 2, 4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        if step < n_warmup:
            return (step + 1) / n_warmup
        return self.fall((step - n_warmup) / max(1, n_steps - n_warmup), n_stalls)


SCHEDULES: Mapping[str, Schedule] = {
    "none": Schedule(lambda _progress, _n_stalls: 1.0),
    "cosine": Schedule(_cosine),
    "plateau": Schedule(lambda _progress, n_stalls: FALL**n_stalls, falls_at_stalls=True),
    "one-cycle": Schedule(  # arXiv 1708.07120; measured in docs/decisions/056
        _cosine, n_epochs=8, least_steps=1500, warmup=1.0, rows_a_rate=128
    ),
}


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
