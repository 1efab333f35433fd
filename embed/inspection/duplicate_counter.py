"""Contents that several rows have: found by digests of 8 bytes a row, whatever the contents' size."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Digests", "Repeat", "Repeats"]


@dataclass(frozen=True)
class Repeat:
    """One content that several rows have."""

    row: int  # the first of them, from 0
    n_rows: int
    example: str = ""


@dataclass(frozen=True)
class Repeats:
    """How often rows have a content that an earlier row has."""

    n_rows: int  # that have a content
    n_distinct: int
    n_repeated: int  # contents that several rows have
    largest: list[Repeat]

    @property
    def n_surplus(self) -> int:
        """How many rows have the content of an earlier one."""
        return self.n_rows - self.n_distinct


class Digests:
    """Collects one digest a row, and tells which rows have the same.

    It takes 8 bytes a row, and 8 more while it tells. Two different contents of ten million have the same 64 bits
    by chance in 3 of a million catalogues.
    """

    NONE = 0  # stands for a row without content

    @classmethod
    def of_key(cls, key: str) -> int:
        """Return the digest of a content's key, that of a row without content for ""."""
        return int.from_bytes(bytes.fromhex(key[:16]), "little", signed=True) if key else cls.NONE

    def __init__(self) -> None:
        self._digests = array("q")

    def add(self, digests: Iterable[int]) -> None:
        """Add the next rows' digests, signed numbers of 64 bits; `NONE` for a row that has no content."""
        self._digests.extend(digests)

    def repeats(self, *, n_largest: int) -> Repeats:
        """Return how often digests repeat, and the `n_largest` groups of rows with the same."""
        digests = np.frombuffer(self._digests, dtype=np.int64)  # (N,)
        ordered = np.sort(digests)
        n_none = int(np.searchsorted(ordered, self.NONE, "right") - np.searchsorted(ordered, self.NONE, "left"))
        is_same = ordered[1:] == ordered[:-1]  # as the one before
        n_surplus = int(np.count_nonzero(is_same)) - max(0, n_none - 1)
        edges = np.diff(np.concatenate(([False], is_same, [False])).astype(np.int8))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)  # of each group of two and more
        are_contents = ordered[starts] != self.NONE
        starts, counts = starts[are_contents], (ends - starts + 1)[are_contents]
        order = np.argsort(-counts, kind="stable")[:n_largest]
        largest = [Repeat(int(np.argmax(digests == ordered[starts[n]])), int(counts[n])) for n in order]
        return Repeats(
            n_rows=len(ordered) - n_none,
            n_distinct=len(ordered) - n_none - n_surplus,
            n_repeated=len(starts),
            largest=sorted(largest, key=lambda repeat: (-repeat.n_rows, repeat.row)),
        )
