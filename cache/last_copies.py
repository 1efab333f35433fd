"""Where the vectors stand that are not sealed yet: a content may be in several parts, and its last copy is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cache.inventory import Waiting

__all__ = ["LastCopies"]


class LastCopies:
    """The part that has the last copy of each of U contents, and its row in that part.

    Args:
        parts: of one encoder.
        rows: key -> content, from 0 to U - 1.

    Shape:
        part_of, row_of: (U,) int64; -1 where no part has the content
    """

    def __init__(self, parts: Sequence[Waiting], rows: Mapping[str, int]) -> None:
        self.part_of, self.row_of = np.full((2, len(rows)), -1, dtype=np.int64)
        for number, part in enumerate(parts):
            contents = np.array([rows[key] for key in part.keys], dtype=np.int64)  # (n,)
            self.part_of[contents], self.row_of[contents] = number, np.arange(len(contents))

    def by_part(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each part that has any of the contents from `start` to `stop`, and these in the order of their rows."""
        contents = start + np.lexsort((self.row_of[start:stop], self.part_of[start:stop]))
        for some in np.split(contents, np.flatnonzero(np.diff(self.part_of[contents])) + 1):
            if len(some) and (number := int(self.part_of[some[0]])) >= 0:
                yield number, some
