"""`KeyColumn`: keys of contents as rows of an index, four bytes each, however often a content occurs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import eq
from typing import Any, overload

import numpy as np

from cache.arrays.hash_runs import ROW
from cache.arrays.key_index import BLOCK_ROWS, KeyIndex, as_keys
from cache.arrays.large_arrays import arange, empty, full, row_blocks
from cache.arrays.packed_keys import KEY, pack

__all__ = ["KeyColumn", "add_keys"]


class KeyColumn(Sequence[str]):
    """N keys, "" where there is no content. Equal to any sequence of the same strings.

    Shape:
        rows: (N,) of whole numbers, each key's row in the index `contents`; -1 where there is no content
    """

    def __init__(self, contents: KeyIndex, rows: np.ndarray | None = None) -> None:
        self.contents = contents
        self.rows = arange(len(contents), ROW) if rows is None else rows

    @classmethod
    def of(cls, keys: Iterable[str]) -> KeyColumn:
        """Return the keys as a column: the same object where they are one."""
        if isinstance(keys, KeyColumn):
            return keys
        index = KeyIndex()
        return cls(index, add_keys(index, keys))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> KeyColumn: ...
    def __getitem__(self, index: int | slice) -> str | KeyColumn:
        if isinstance(index, slice):
            return KeyColumn(self.contents, self.rows[index])
        row = int(self.rows[index])
        return "" if row < 0 else self.contents.key(row)

    def __iter__(self) -> Iterator[str]:
        for rows in row_blocks(len(self), BLOCK_ROWS):
            yield from np.asarray(self[rows]).astype(str).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the keys, (N,) S64."""
        keys = np.zeros(len(self), dtype=KEY)
        has_content = self.rows >= 0
        keys[has_content] = self.contents.letters(self.rows[has_content])
        return keys

    def __eq__(self, other: object) -> bool:
        if isinstance(other, KeyColumn):
            return len(self) == len(other) and all(
                np.array_equal(np.asarray(self[rows]), np.asarray(other[rows])) for rows in row_blocks(len(self))
            )
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def word_blocks(self) -> Iterator[np.ndarray]:
        """Yield the words of the keys by blocks, as `KeyIndex.word_blocks` does."""
        for block in row_blocks(len(self), BLOCK_ROWS):
            rows = self.rows[block]
            yield self.contents.words(rows) if rows.min() >= 0 else pack(np.asarray(self[block]))

    @property
    def distinct_rows(self) -> np.ndarray:
        """The rows of its contents in the index, each once, in the order of their first mention, (U,) int32."""
        is_mentioned = full(len(self.contents), False, bool)
        distinct, n_distinct = empty(min(len(self), len(self.contents)), ROW), 0
        for block in row_blocks(len(self)):
            rows = self.rows[block]
            rows = rows[rows >= 0]
            rows = rows[~is_mentioned[rows]]
            rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
            is_mentioned[rows] = True
            distinct[n_distinct : n_distinct + len(rows)] = rows
            n_distinct += len(rows)
        return distinct[:n_distinct]

    def rows_in(self, index: KeyIndex) -> np.ndarray:
        """Return each content's row in another index, (N,); -1 where there is none."""
        if index is self.contents:
            return self.rows
        new_rows, rows = index.rows_of(self.contents), empty(len(self), ROW)
        for block in row_blocks(len(self)):
            rows[block] = new_rows.take(self.rows[block], mode="clip") if len(new_rows) else -1
            rows[block][self.rows[block] < 0] = -1
        return rows


def add_keys(index: KeyIndex, keys: Iterable[str]) -> np.ndarray:
    """Add the keys that an index lacks to it; return the row of each key, (n,) int32, -1 for ""."""
    array = as_keys(keys)
    has_content = array != b""
    rows = np.full(len(array), -1, dtype=ROW)
    rows[has_content] = index.add(array[has_content])
    return rows
