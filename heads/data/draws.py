"""Random numbers of one seed for several ends, which have nothing in common."""

from __future__ import annotations

import numpy as np

__all__ = ["DRAWS", "generator_of"]

# Their order is that of the streams: a new one comes last.
DRAWS = (
    "bootstrap", "altered rows", "missing entries", "shuffles", "late weights", "guards", "few rows", "race",
    "pseudo labels",
)  # fmt: skip


def generator_of(seed: int, draw: str) -> np.random.Generator:
    """Return the generator of one of `DRAWS`, new at each call.

    Splits and folds are drawn by the seed itself, as are heads (NumPy's `SeedSequence.spawn`: children of a seed are
    independent of each other and of it).

    >>> int(generator_of(0, "bootstrap").integers(100)) == int(generator_of(0, "bootstrap").integers(100))
    True
    """
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(len(DRAWS))[DRAWS.index(draw)])
