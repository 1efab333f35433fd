"""Where the vectors stand that are not sealed yet: a content may be in several parts, and its last copy is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cache.inventory import Waiting

__all__ = ["LastCopies"]


class LastCopies:
    """The part that has the last copy of each of U contents, and its row in that part.

    Args:
        parts: of one encoder.
        n_contents: U.

    Shape:
        part_of: (U,) int32, row_of: (U,) int64; -1 where no part has the content
    """

    def __init__(self, parts: Sequence[Waiting], n_contents: int) -> None:
        self.part_of = np.full(n_contents, -1, dtype=np.int32)
        self.row_of = np.full(n_contents, -1, dtype=np.int64)
        for number, part in enumerate(parts):
            self.part_of[part.rows], self.row_of[part.rows] = number, np.arange(len(part.rows))

    def by_part(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each part that has any of the contents from `start` to `stop`, and these in the order of their rows."""
        contents = start + np.lexsort((self.row_of[start:stop], self.part_of[start:stop]))
        for some in np.split(contents, np.flatnonzero(np.diff(self.part_of[contents])) + 1):
            if len(some) and (number := int(self.part_of[some[0]])) >= 0:
                yield number, some
