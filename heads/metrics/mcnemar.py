"""McNemar's test: whether two heads that answered the same rows are right equally often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["McNemar", "mcnemar_test"]

LEAST_SHOWN = 0.001  # of a chance, to three digits
FEW_ROWS = 25  # discordant ones, below which the test is exact


@dataclass(frozen=True)
class McNemar:
    """How many rows only the one head has right, how many only the other, and how likely that is between equals.

    It takes rows for independent, which those that share a picture or a text are not: where there are such, p is too
    small. The bootstrap interval beside it draws whole groups and allows for them.
    """

    n_won: int  # right where the other is wrong
    n_lost: int
    p_value: float
    is_exact: bool  # else chi-square

    @property
    def shown_p(self) -> str:
        """The chance to three digits; none is nought.

        >>> McNemar(40, 2, 1e-9, False).shown_p, McNemar(3, 1, 0.625, True).shown_p
        ('<.001', '0.625')
        """
        return f"{self.p_value:.3f}" if self.p_value >= LEAST_SHOWN else "<.001"


def mcnemar_test(targets: np.ndarray, predictions: np.ndarray, other_predictions: np.ndarray) -> McNemar:
    """Return the test of a head's predictions against another's (McNemar, Psychometrika 12, 1947).

    Below 25 discordant rows it is the exact two-sided binomial test, else chi-square with continuity correction.

    Shape:
        targets, predictions, other_predictions: (n,) int64

    >>> mcnemar_test(np.zeros(4, int), np.array([0, 0, 0, 1]), np.array([1, 1, 1, 0]))
    McNemar(n_won=3, n_lost=1, p_value=0.625, is_exact=True)
    """
    from scipy.special import bdtr, chdtrc  # scipy.stats takes half a second to import

    is_right, other_is_right = predictions == targets, other_predictions == targets
    n_won, n_lost = int((is_right & ~other_is_right).sum()), int((~is_right & other_is_right).sum())
    n_discordant = n_won + n_lost
    if n_discordant < FEW_ROWS:
        p_value = min(1.0, 2 * float(bdtr(min(n_won, n_lost), n_discordant, 0.5)))
    else:
        p_value = float(chdtrc(1, max(abs(n_won - n_lost) - 1, 0) ** 2 / n_discordant))
    return McNemar(n_won, n_lost, p_value, n_discordant < FEW_ROWS)
