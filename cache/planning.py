"""The one decision of what to encode."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cache.encoded_keys import EncodedKeys
from cache.key_column import KeyColumn
from cache.key_index import BLOCK_ROWS, KeyIndex

__all__ = ["plan"]


def plan(wanted: Iterable[str] | KeyIndex, *have: Iterable[str] | KeyIndex) -> KeyColumn:
    """Return the keys of `wanted` that are in none of `have`, each once, in their first order; "" is no key.

    >>> plan(["b", "a", "b", "c"], {"c"})
    ['b', 'a']
    """
    column = KeyColumn(wanted) if isinstance(wanted, KeyIndex) else KeyColumn.of(wanted)
    rows = column.rows if isinstance(wanted, KeyIndex) else column.first_rows
    several = [some if isinstance(some, EncodedKeys | KeyIndex) else KeyIndex(some) for some in have]
    pieces = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(rows), BLOCK_ROWS):
        piece = rows[start : start + BLOCK_ROWS]
        for some in several:
            piece = piece[~some.has(column.contents.keys[piece])]
        pieces.append(piece)
    return KeyColumn(column.contents, np.concatenate(pieces))
