"""Which part has each content's vector while it is not sealed: of several that have one, the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cache.arrays.hash_runs import ROW
from cache.arrays.large_arrays import full, row_blocks
from cache.inventory.inventory import WaitingPart

__all__ = ["LastCopies"]


class LastCopies:
    """The part that has the last copy of each of U contents, and its row in that part.

    Args:
        parts: of one encoder.
        n_contents: U.

    Shape:
        part_of: (U,) int32, row_of: (U,) int32; -1 where no part has the content
    """

    def __init__(self, parts: Sequence[WaitingPart], n_contents: int) -> None:
        self.part_of = full(n_contents, -1, np.int32)
        self.row_of = full(n_contents, -1, ROW)
        for number, part in enumerate(parts):
            for rows in row_blocks(len(part.rows)):
                self.part_of[part.rows[rows]] = number
                self.row_of[part.rows[rows]] = np.arange(rows.start, rows.stop)

    def by_part(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each part, by its number, that has contents from `start` to `stop`, and these sorted by their rows."""
        contents = start + np.lexsort((self.row_of[start:stop], self.part_of[start:stop]))
        for part_contents in np.split(contents, np.flatnonzero(np.diff(self.part_of[contents])) + 1):
            if len(part_contents) and (number := int(self.part_of[part_contents[0]])) >= 0:
                yield number, part_contents
