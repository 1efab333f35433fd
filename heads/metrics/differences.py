"""Differences of two heads in one score, on the same rows, with intervals that hold for many of them together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

__all__ = ["Answer", "Difference", "compare", "student_errors"]

CONFIDENCE = 0.95

Answer = Literal["better", "worse", "equal", "undecided"]
Head = TypeVar("Head", bound=Hashable)


@dataclass(frozen=True)
class Difference:
    """One head minus another in one score, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def is_within(self, margin: float) -> bool:
        """Return whether the whole interval lies within ± a margin."""
        return -margin < self.low and self.high < margin

    def answer(self, margin: float) -> Answer:
        """Return what the interval says: better or worse where it leaves zero out, else equal if within ± the margin.

        A difference that is sure and yet within the margin is better or worse: equal would deny it.

        >>> [Difference(0, low, high).answer(0.02) for low, high in ((0.01, 0.1), (-0.01, 0.01), (-0.1, 0.1))]
        ['better', 'equal', 'undecided']
        """
        if self.sign:
            return "better" if self.sign > 0 else "worse"
        return "equal" if self.is_within(margin) else "undecided"

    def rows_to_decide(self, margin: float) -> float:
        """Return how many times the rows would decide an undecided difference, were it to stay as it is.

        Intervals shrink with the root of the rows. Needed is one no wider than the margin to each side, and where the
        difference lies between zero and the margin, one that would leave out either of them.
        """
        needed_half_width = min(margin, max(abs(self.value), margin - abs(self.value)))
        return ((self.high - self.low) / 2 / needed_half_width) ** 2

    def __str__(self) -> str:
        low, high = max(self.low, -1.0), min(self.high, 1.0)  # of few rows they reach farther than two shares can
        return f"{100 * self.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def compare(
    heads: Sequence[Head],
    single: Head,
    *,
    scores: Mapping[Head, np.ndarray],
    resampled: Mapping[Head, np.ndarray],
    n_groups: int,
    rivals: Sequence[Head] = (),
) -> dict[Head, list[Difference]]:
    """Return each head's differences to one of them, in every score, with intervals that hold for all together.

    `rivals` are those of which that one was chosen, where the same rows had a part in it: the best of several was lucky
    there, so that differences to it come out too small, and their upper ends hold whichever of them is the best. Lower
    ends need no more for it.

    The chance that any of them is wrong is 5 %, and not that of each: all have as many standard errors to each side
    as the farthest of them is off in 95 % of the resamples (the maximum of studentised statistics, the single-step
    maxT of Westfall & Young, Resampling-Based Multiple Testing, 1993, section 2.3). Resamples of few groups vary too
    little, so that the number of errors is made that of Student's t; and as a score's own, all are widened by the bias.

    Shape:
        scores: {head: (S,)}, as accuracy and macro-F1
        resampled: {head: (R, S)}, the same on resamples that all heads share
    """
    if not heads:
        return {}
    values = np.stack([scores[head] - scores[single] for head in heads])  # (H, S)
    drawn = np.stack([resampled[head] - resampled[single] for head in heads], axis=1)  # (R, H, S)
    errors = drawn.std(axis=0, ddof=1)
    farthest = _farthest(heads, {single}, resampled)
    farthest_of_any = np.maximum(farthest, _farthest(heads, {*rivals} - {single}, resampled))
    n_free = max(n_groups - 1, 1)
    below, above = (
        float(student_errors(np.quantile(distances, CONFIDENCE), n_free) * np.sqrt(1 + 1 / n_free)) * errors
        for distances in (farthest, farthest_of_any)
    )
    if n_groups == 1:
        below = above = np.ones_like(errors)  # there is nothing to draw from, and nothing known
    bias = values - drawn.mean(axis=0)
    low, high = values - below + np.minimum(bias, 0), values + above + np.maximum(bias, 0)
    return {
        head: [Difference(*map(float, ends)) for ends in zip(values[n], low[n], high[n], strict=True)]
        for n, head in enumerate(heads)
    }


def _farthest(heads: Sequence[Head], singles: Iterable[Head], resampled: Mapping[Head, np.ndarray]) -> np.ndarray:
    """Return by how many standard errors the farthest difference of a head to one of some is off, (R,)."""
    centred = {head: resampled[head] - resampled[head].mean(axis=0) for head in {*heads, *singles}}
    of_heads = np.stack([centred[head] for head in heads], axis=1)  # (R, H, S)
    farthest = np.zeros(len(of_heads))
    for single in singles:
        deviations = of_heads - centred[single][:, None]
        errors = deviations.std(axis=0, ddof=1)
        deviations = np.abs(deviations) / np.where(errors > 0, errors, 1)
        farthest = np.maximum(farthest, deviations.reshape(len(deviations), -1).max(axis=1))
    return farthest


def student_errors(n_errors: float, n_free: int) -> float:
    """Return how many standard errors estimated with `n_free` degrees of freedom are as sure as `n_errors` exact ones.

    >>> round(student_errors(1.96, 10), 2)
    2.23
    """
    from scipy.special import ndtr, stdtrit  # scipy.stats takes half a second to import

    return float(stdtrit(max(n_free, 1), ndtr(n_errors)))
