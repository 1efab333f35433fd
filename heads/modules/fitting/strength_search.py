"""The search for a strength of regularisation: from the usual one to weaker regularisation, or else to stronger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["USUAL_STRENGTH", "search_strengths"]

USUAL_STRENGTH = 0.01  # scikit-learn's C: the larger, the less are weights held small
WORSE = 1.01  # times the least loss: beyond it nothing is tried in that direction

Result = TypeVar("Result")


def search_strengths(
    attempt: Callable[[float], Result], strengths: Sequence[float], *, loss_of: Callable[[Result], float]
) -> Iterator[tuple[float, Result]]:
    """Yield each strength that is tried, with the result of its attempt, in the order of the attempts.

    First is the one nearest to the usual, then larger ones until the loss is worse than the least so far; where no
    larger one has a smaller loss than the usual, smaller ones likewise. So a solver may go on from where it was.

    >>> losses = {1e-4: 3.0, 1e-3: 2.0, 0.01: 1.0, 0.1: 1.1, 1.0: 1.3, 10.0: 2.0}
    >>> [strength for strength, _ in search_strengths(losses.get, list(losses), loss_of=float)]
    [0.01, 0.1, 0.001]
    """
    ordered = sorted(strengths)
    usual = min(range(len(ordered)), key=lambda index: abs(math.log(ordered[index] / USUAL_STRENGTH)))
    result = attempt(ordered[usual])
    usual_loss = least_loss = loss_of(result)
    yield ordered[usual], result
    for direction in (ordered[usual + 1 :], ordered[:usual][::-1]):
        if least_loss < usual_loss:
            break
        for strength in direction:
            result = attempt(strength)
            loss = loss_of(result)
            yield strength, result
            if loss > WORSE * least_loss:
                break
            least_loss = min(least_loss, loss)
