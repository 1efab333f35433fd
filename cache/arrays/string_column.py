"""`StringColumn`: strings in two arrays, as Arrow and the cache keep them; one takes its bytes and eight more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from operator import eq
from typing import Any, overload

import numpy as np

from cache.arrays.large_arrays import GrowingArray, empty, row_blocks
from cache.tokens import offsets_of

__all__ = ["ColumnGatherer", "StringColumn", "sorted_hashes", "take_cells"]

BLOCK_ROWS = 4096  # decoded at once


class StringColumn(Sequence[str]):
    """N strings, decoded when they are read. Equal to any sequence of the same strings.

    Shape:
        utf8: (bytes,) uint8
        offset: (N + 1,) int64, where each string begins, and where the last ends
    """

    def __init__(self, utf8: np.ndarray, offset: np.ndarray) -> None:
        self.utf8, self.offset = utf8, offset

    def __len__(self) -> int:
        return len(self.offset) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if not isinstance(index, slice):
            row = range(len(self))[index]
            return self._decoded(row, row + 1)[0]
        rows = range(len(self))[index]
        if rows.step != 1:
            return [self[row] for row in rows]
        return self._decoded(rows.start, rows.stop) if rows else []

    def __iter__(self) -> Iterator[str]:
        blocks = row_blocks(len(self), BLOCK_ROWS)
        return chain.from_iterable(self._decoded(rows.start, rows.stop) for rows in blocks)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StringColumn):
            return np.array_equal(self.offset, other.offset) and np.array_equal(self.utf8, other.utf8)
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    @property
    def is_ascii(self) -> bool:
        """Whether all letters are ASCII."""
        return all(self.utf8[block].max(initial=0) < 128 for block in row_blocks(len(self.utf8)))

    @property
    def n_filled(self) -> int:
        """How many strings are more than blanks; one that begins with a visible ASCII letter need not be decoded."""
        n_filled = 0
        for block in row_blocks(len(self)):
            rows = block.start + np.flatnonzero(np.diff(self.offset[block.start : block.stop + 1]))
            first_bytes = self.utf8[self.offset[rows]]
            unclear = rows[(first_bytes <= ord(" ")) | (first_bytes >= 127)]
            n_filled += len(rows) - sum(not self[row].strip() for row in unclear.tolist())
        return n_filled

    def _decoded(self, start: int, stop: int) -> list[str]:
        offsets = self.offset[start : stop + 1]
        content = self.utf8[offsets[0] : offsets[-1]].tobytes()
        bounds = (offsets - offsets[0]).tolist()
        if content.isascii():
            text = content.decode("ascii")
            return [text[begin:end] for begin, end in pairwise(bounds)]
        return [content[begin:end].decode("utf-8", "surrogateescape") for begin, end in pairwise(bounds)]


class ColumnGatherer:
    """Gathers cells batch by batch into a column, or a list where a cell is not Unicode or not a plain `str`.

    Cells of subclasses of `str` are those that say more, such as a range inside a file.
    """

    def __init__(self) -> None:
        self._utf8, self._offsets = GrowingArray(np.uint8), GrowingArray(np.int64)
        self._offsets.extend(np.zeros(1, dtype=np.int64))
        self._n_bytes = 0
        self._cells: list[str] | None = None

    def extend(self, cells: Sequence[str]) -> None:
        """Append cells."""
        column = None if self._cells is not None else _encoded(cells)
        if column is not None:
            self._utf8.extend(column.utf8)
            self._offsets.extend(column.offset[1:] + self._n_bytes)
            self._n_bytes += len(column.utf8)
            return
        if self._cells is None:
            self._cells = list(self.column())
        self._cells.extend(cells)

    def column(self) -> Sequence[str]:
        """Return all cells; none can be appended afterwards."""
        if self._cells is not None:
            return self._cells
        return StringColumn(self._utf8.array(), self._offsets.array())


def take_cells(cells: Sequence[str], rows: Sequence[int]) -> Sequence[str]:
    """Return the cells in some rows: as a column where `cells` are one, else as a list."""
    taken_cells = [cells[row] for row in rows]
    return (_encoded(taken_cells) or taken_cells) if isinstance(cells, StringColumn) else taken_cells


def sorted_hashes(cells: Sequence[str]) -> np.ndarray:
    """Return a hash of each cell, sorted, (N,) int64; the hash of a cell is another one in another process."""
    hashes = empty(len(cells), np.int64)
    for rows in row_blocks(len(cells)):
        hashes[rows] = np.fromiter(map(hash, cells[rows]), dtype=np.int64, count=rows.stop - rows.start)
    hashes.sort()
    return hashes


def _encoded(cells: Sequence[str]) -> StringColumn | None:
    """Return the cells as a column; None where one is not Unicode, or not a plain `str`."""
    if set(map(type, cells)) - {str}:
        return None
    text = "".join(cells)
    if text.isascii():
        return StringColumn(np.frombuffer(text.encode(), dtype=np.uint8), offsets_of(list(map(len, cells))))
    try:
        encoded: list[Any] = [cell.encode() for cell in cells]
    except UnicodeEncodeError:
        return None
    return StringColumn(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets_of(list(map(len, encoded))))
