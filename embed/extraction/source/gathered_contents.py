"""Contents as they are found, one after the other, put together: their keys as a column, and where each is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from cache.arrays.hash_runs import ROW
from cache.arrays.key_column import KeyColumn, add_keys
from cache.arrays.key_index import KeyIndex
from cache.arrays.large_arrays import empty, row_blocks
from cache.arrays.status_column import StatusColumn, StatusGatherer

__all__ = ["gather"]

BLOCK_ROWS = 2**16  # contents whose keys are indexed at once


def gather(
    contents: Iterator[tuple[str, str, Any]], take_places: Callable[[list[Any]], object], *, most: int
) -> tuple[KeyColumn, StatusColumn]:
    """Return the keys and the statuses of so many at most, and have it taken where each content is found first."""
    index = KeyIndex()
    index.reserve(most)
    rows, n_rows = empty(most, ROW), 0
    statuses = StatusGatherer(most)
    for _ in row_blocks(most, BLOCK_ROWS):
        if not (block := list(islice(contents, BLOCK_ROWS))):
            break
        keys, some_statuses, some_places = zip(*block, strict=True)
        n_before, some = len(index), slice(n_rows, n_rows + len(block))
        rows[some] = add_keys(index, keys)
        statuses.extend(some_statuses)
        new = np.flatnonzero(rows[some] >= n_before)
        _, first = np.unique(rows[some][new], return_index=True)
        take_places([some_places[n] for n in new[first].tolist()])
        n_rows += len(block)
    return KeyColumn(index, rows[:n_rows]), statuses.column()
