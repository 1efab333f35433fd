"""Random numbers of one seed for several purposes: a stream each, independent of the others."""

from __future__ import annotations

import numpy as np

__all__ = ["DRAWS", "generator_of"]

# A stream follows from its position: a new one comes last.
DRAWS = (
    "bootstrap", "altered rows", "missing entries", "shuffles", "late weights", "guards", "few rows", "race",
    "pseudo labels",
)  # fmt: skip


def generator_of(seed: int, draw: str) -> np.random.Generator:
    """Return the generator of one of `DRAWS`, new at each call.

    Splits, folds and heads are drawn by the seed itself, of which its children are independent, too (NumPy's
    `SeedSequence.spawn`).

    >>> int(generator_of(0, "bootstrap").integers(100)) == int(generator_of(0, "bootstrap").integers(100))
    True
    """
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(len(DRAWS))[DRAWS.index(draw)])
