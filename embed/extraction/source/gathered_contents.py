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
    contents: Iterator[tuple[str, str, Any]], take_places: Callable[[list[Any]], object], *, capacity: int
) -> tuple[KeyColumn, StatusColumn]:
    """Return the keys and the statuses of contents, and hand on the place of each unique one.

    Args:
        contents: key, status and place of each, at most `capacity`.
        take_places: called with the places at which new contents are found first, in the order of their numbers.
        capacity: how many contents there is room for.
    """
    index = KeyIndex()
    index.reserve(capacity)
    rows, n_rows = empty(capacity, ROW), 0
    statuses = StatusGatherer(capacity)
    for _ in row_blocks(capacity, BLOCK_ROWS):
        if not (block := list(islice(contents, BLOCK_ROWS))):
            break
        keys, block_statuses, block_places = zip(*block, strict=True)
        n_before = len(index)
        block_rows = add_keys(index, keys)
        rows[n_rows : n_rows + len(block)] = block_rows
        statuses.extend(block_statuses)
        new_positions = np.flatnonzero(block_rows >= n_before)
        _, first = np.unique(block_rows[new_positions], return_index=True)
        take_places([block_places[position] for position in new_positions[first].tolist()])
        n_rows += len(block)
    return KeyColumn(index, rows[:n_rows]), statuses.column()
