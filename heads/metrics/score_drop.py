"""What a score loses by a change that was made several times."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Drop"]


@dataclass(frozen=True)
class Drop:
    """What shuffling costs in one score: mean and standard deviation over the repeats, and a 95 % interval.

    The interval allows for the rows as they are being one order among others: where a modality tells nothing, it
    leaves zero out once in twenty times (Student's t, one further draw).
    """

    mean: float
    sd: float
    low: float
    high: float

    @classmethod
    def of(cls, drops: np.ndarray) -> Drop:
        """Return the summary of some repeats, (R,) with R at least 2."""
        from scipy.special import stdtrit  # scipy.stats takes half a second to import

        mean, sd = float(drops.mean()), float(drops.std(ddof=1))
        half = float(stdtrit(len(drops) - 1, 0.975)) * sd * math.sqrt(1 + 1 / len(drops))
        return cls(mean, sd, mean - half, mean + half)

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.sd:.1f}"
