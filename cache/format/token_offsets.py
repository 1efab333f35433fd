"""Where each content's tokens begin in a sealed cache, checked."""

from __future__ import annotations

import numpy as np

from cache.format.checked_tables import CheckedTables
from cache.tokens import MOST_TOKENS

__all__ = ["token_offsets"]


def token_offsets(tables: CheckedTables, entry: str, *, encoded: np.ndarray) -> np.ndarray:
    """Return where the tokens of each of U contents begin, and where the last ones end, (U + 1,) int64.

    `entry` is ``<modality>/<encoder>``, such as ``text/bert``.

    Shape:
        encoded: (U,) bool, which contents have a vector

    Raises:
        DamagedCacheError: they are out of order, a content has tokens and no vector or a vector and no tokens, or more
            tokens than a batch can take.
    """
    path = f"{entry}/token"
    offsets = tables.offsets(f"{path}_offset", tables.shape(path)[0])
    counts = np.diff(offsets)
    if not np.array_equal(counts > 0, encoded):
        raise tables.damaged(f"{path}_offset", "expected tokens where there is a vector, and only there")
    if counts.max(initial=0) > MOST_TOKENS:
        raise tables.damaged(f"{path}_offset", f"a content has {counts.max()} tokens, more than {MOST_TOKENS}")
    return offsets
