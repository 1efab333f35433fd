"""`KeyColumn`: keys of contents as rows of an index, eight bytes each, however often a content occurs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import eq
from typing import Any, overload

import numpy as np

from cache.key_index import BLOCK_ROWS, KEY, KeyIndex, as_keys

__all__ = ["KeyColumn"]


class KeyColumn(Sequence[str]):
    """N keys, "" where there is no content. Equal to any sequence of the same strings.

    Shape:
        rows: (N,) int64, each one's row in the index; -1 where there is no content
    """

    def __init__(self, contents: KeyIndex, rows: np.ndarray | None = None) -> None:
        self.contents = contents
        self.rows = np.arange(len(contents)) if rows is None else rows

    @classmethod
    def of(cls, keys: Iterable[str]) -> KeyColumn:
        """Return the keys as a column; what is one already is returned as it is."""
        if isinstance(keys, KeyColumn):
            return keys
        index = KeyIndex()
        return cls(index, rows_in(index, keys))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> KeyColumn: ...
    def __getitem__(self, place: int | slice) -> str | KeyColumn:
        if isinstance(place, slice):
            return KeyColumn(self.contents, self.rows[place])
        row = int(self.rows[place])
        return "" if row < 0 else self.contents.keys[row].decode()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK_ROWS):
            yield from np.asarray(self[start : start + BLOCK_ROWS]).astype(str).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the keys, (N,) S64."""
        keys = np.zeros(len(self), dtype=KEY)
        has_content = self.rows >= 0
        keys[has_content] = self.contents.keys[self.rows[has_content]]
        return keys

    def __eq__(self, other: object) -> bool:
        if isinstance(other, KeyColumn):
            return len(self) == len(other) and np.array_equal(np.asarray(self), np.asarray(other))
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    @property
    def first_rows(self) -> np.ndarray:
        """The rows of its contents, each once, in the order of their first mention, (U,) int64."""
        rows = self.rows[self.rows >= 0]
        first = np.full(len(self.contents), len(rows))
        first[rows[::-1]] = np.arange(len(rows))[::-1]  # of those that are repeated the last assignment stays
        mentioned = np.flatnonzero(first < len(rows))
        return mentioned[np.argsort(first[mentioned])]

    def found_in(self, index: KeyIndex) -> np.ndarray:
        """Return each content's row in another index, (N,) int64; -1 where there is none."""
        if index is self.contents:
            return self.rows
        return np.append(index.rows_of(self.contents.keys), -1)[self.rows]


def rows_in(index: KeyIndex, keys: Iterable[str]) -> np.ndarray:
    """Return each key's row, (n,) int64, -1 for ""; those that have none get the next ones."""
    array = as_keys(keys)
    has_content = array != b""
    rows = np.full(len(array), -1, dtype=np.int64)
    rows[has_content] = index.add(array[has_content])
    return rows
