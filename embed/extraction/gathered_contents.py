"""Contents as they are found, one after the other, put together: their keys as a column, and where each is."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from cache.key_column import KeyColumn, rows_in
from cache.key_index import KeyIndex

__all__ = ["gather"]

BLOCK_ROWS = 2**16  # contents whose keys are indexed at once


def gather(
    contents: Iterator[tuple[str, str, Any]], places: list[Any] | array[int], *, most: int
) -> tuple[KeyColumn, list[str]]:
    """Return the keys and the statuses of so many at most, and put into `places` where each content is found first."""
    index = KeyIndex()
    index.reserve(most)
    rows = [np.empty(0, dtype=np.int64)]
    statuses: list[str] = []
    while block := list(islice(contents, BLOCK_ROWS)):
        keys, some_statuses, some_places = zip(*block, strict=True)
        n_before = len(index)
        rows.append(rows_in(index, keys))
        statuses += some_statuses
        new = np.flatnonzero(rows[-1] >= n_before)
        _, first = np.unique(rows[-1][new], return_index=True)
        places.extend([some_places[n] for n in new[first].tolist()])
    return KeyColumn(index, np.concatenate(rows)), statuses
