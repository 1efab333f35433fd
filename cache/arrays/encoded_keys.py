"""Which keys have a vector: a byte for each row of their index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import numpy as np

from cache.arrays.hash_runs import ROW
from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex
from cache.arrays.large_arrays import empty, flatnonzero, full, row_blocks

__all__ = ["EncodedKeys"]


class EncodedKeys(Set[str]):
    """The set of an index's keys that have a vector; more of them may be added.

    Shape:
        encoded: (n,) bool, which of the index's first n rows have a vector
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
            block_rows = rows[block]  # a view
            indexed = np.flatnonzero(block_rows >= 0)
            block_rows[indexed[~encoded[block_rows[indexed]]]] = -1
        return rows

    def add(self, rows: np.ndarray) -> None:
        """Add the keys in some rows of the index."""
        self.encoded[rows] = True

    def move(self, new_rows: np.ndarray) -> None:
        """Follow `KeyIndex.reorder`, which returned the new row of each key, (U,)."""
        moved, encoded = empty(len(new_rows), bool), self.encoded
        for rows in row_blocks(len(new_rows)):
            moved[new_rows[rows]] = encoded[rows]
        self._encoded = moved

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self.has([key])[0])

    def __iter__(self) -> Iterator[str]:
        return iter(KeyColumn(self.index, flatnonzero(self.encoded, ROW)))

    def __len__(self) -> int:
        return int(self.encoded.sum())

    @classmethod
    def _from_iterable(cls, keys: Iterable[str]) -> set[str]:  # type: ignore[override]
        return set(keys)  # the type of `&` and `-`
