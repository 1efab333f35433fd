"""Which keys have a vector: a byte for each row of their index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import numpy as np

from cache.arrays.hash_runs import ROW
from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex
from cache.arrays.large_arrays import empty, full, places_of, row_blocks

__all__ = ["EncodedKeys"]


class EncodedKeys(Set[str]):
    """A set of keys that are in an index, to which others may be added.

    Shape:
        encoded: (n,) bool, which of the first rows have a vector
    """

    def __init__(self, index: KeyIndex, encoded: np.ndarray | None = None) -> None:
        self.index = index
        self._encoded = np.zeros(0, dtype=bool) if encoded is None else encoded

    @property
    def encoded(self) -> np.ndarray:
        """Which rows of the index have a vector, (U,) bool."""
        if len(self._encoded) < len(self.index):
            encoded = full(len(self.index), False, bool)
            encoded[: len(self._encoded)] = self._encoded
            self._encoded = encoded
        return self._encoded

    def has(self, keys: Iterable[str] | np.ndarray) -> np.ndarray:
        """Return which of n keys are in it, (n,) bool."""
        return self.rows_of(keys) >= 0

    def rows_of(self, keys: Iterable[str] | np.ndarray) -> np.ndarray:
        """Return the row of each key that is in it, (n,) int32; -1 for others."""
        rows, encoded = self.index.rows_of(keys), self.encoded
        for block in row_blocks(len(rows)):
            some = rows[block]
            known = np.flatnonzero(some >= 0)
            some[known[~encoded[some[known]]]] = -1
        return rows

    def add(self, rows: np.ndarray) -> None:
        """Add the keys in some rows of the index."""
        self.encoded[rows] = True

    def move(self, places: np.ndarray) -> None:
        """Follow the index, whose rows have other places now, (U,)."""
        encoded, before = empty(len(places), bool), self.encoded
        for rows in row_blocks(len(places)):
            encoded[places[rows]] = before[rows]
        self._encoded = encoded

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self.has([key])[0])

    def __iter__(self) -> Iterator[str]:
        return iter(KeyColumn(self.index, places_of(self.encoded, ROW)))

    def __len__(self) -> int:
        return int(self.encoded.sum())

    @classmethod
    def _from_iterable(cls, keys: Iterable[str]) -> set[str]:  # type: ignore[override]
        return set(keys)  # what `&` and `-` give
