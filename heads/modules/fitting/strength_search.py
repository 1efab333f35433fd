"""The search for a strength of regularisation: from the usual one to weaker regularisation, or else to stronger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["USUAL_STRENGTH", "search_strengths"]

USUAL_STRENGTH = 0.01  # scikit-learn's C: the larger, the less are weights held small
WORSE = 1.01  # times the least loss: beyond it nothing is tried in that direction

One = TypeVar("One")


def search_strengths(
    attempt: Callable[[float], One], strengths: Sequence[float], *, loss_of: Callable[[One], float]
) -> Iterator[tuple[float, One]]:
    """Yield each strength that is tried, with what comes of it, in the order in which they are.

    First is the one nearest to the usual, then larger ones until the loss is worse than the least so far; where none of
    them has a smaller one than the usual, smaller ones likewise. So a solver may go on from where it was.

    >>> losses = {1e-4: 3.0, 1e-3: 2.0, 0.01: 1.0, 0.1: 1.1, 1.0: 1.3, 10.0: 2.0}
    >>> [strength for strength, _ in search_strengths(losses.get, list(losses), loss_of=float)]
    [0.01, 0.1, 0.001]
    """
    ordered = sorted(strengths)
    usual = min(range(len(ordered)), key=lambda place: abs(math.log(ordered[place] / USUAL_STRENGTH)))
    one = attempt(ordered[usual])
    first = least = loss_of(one)
    yield ordered[usual], one
    for others in (ordered[usual + 1 :], ordered[:usual][::-1]):
        if least < first:
            break
        for strength in others:
            one = attempt(strength)
            loss = loss_of(one)
            yield strength, one
            if loss > WORSE * least:
                break
            least = min(least, loss)
