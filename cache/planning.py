"""The one decision of what to encode."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cache.encoded_keys import EncodedKeys
from cache.key_column import KeyColumn
from cache.key_index import BLOCK_ROWS, KeyIndex

__all__ = ["plan"]


def plan(wanted: Iterable[str], have: Iterable[str]) -> KeyColumn:
    """Return the keys of `wanted` that are not in `have`, each once, in their first order; "" is no key.

    >>> plan(["b", "a", "b", "c"], {"c"})
    ['b', 'a']
    """
    column = KeyColumn.of(wanted)
    there = have if isinstance(have, EncodedKeys | KeyIndex) else KeyIndex(have)
    pieces = [np.empty(0, dtype=np.int64)]
    rows = column.first_rows
    for start in range(0, len(rows), BLOCK_ROWS):
        some = rows[start : start + BLOCK_ROWS]
        pieces.append(some[~there.has(column.contents.keys[some])])
    return KeyColumn(column.contents, np.concatenate(pieces))
