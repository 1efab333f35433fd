"""The one decision of what to encode."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cache.arrays.encoded_keys import EncodedKeys
from cache.arrays.hash_runs import ROW
from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import BLOCK_ROWS, KeyIndex
from cache.arrays.large_arrays import empty, row_blocks

__all__ = ["plan"]


def plan(wanted: Iterable[str] | KeyIndex, *have: Iterable[str] | KeyIndex) -> KeyColumn:
    """Return the keys of `wanted` that are in none of `have`, each once, in their first order; "" is no key.

    >>> plan(["b", "a", "b", "c"], {"c"})
    ['b', 'a']
    """
    if isinstance(wanted, KeyIndex):
        contents, rows = wanted, None  # all of its rows, in their order
    else:
        column = KeyColumn.of(wanted)
        contents, rows = column.contents, column.distinct_rows
    existing = [keys if isinstance(keys, EncodedKeys | KeyIndex) else KeyIndex(keys) for keys in have]
    planned, n_planned = empty(len(contents), ROW), 0
    for block in row_blocks(len(contents) if rows is None else len(rows), BLOCK_ROWS):
        missing_rows = np.arange(block.start, block.stop) if rows is None else rows[block]
        for keys in existing:
            missing_rows = missing_rows[~keys.has(KeyColumn(contents, missing_rows))]
        planned[n_planned : n_planned + len(missing_rows)] = missing_rows
        n_planned += len(missing_rows)
    return KeyColumn(contents, planned[:n_planned])
