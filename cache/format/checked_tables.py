"""`CheckedTables`: the tables of an open cache, each held against its digest or checksums as it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import h5py
import numpy as np

from cache.arrays.large_arrays import empty, row_blocks
from cache.errors import DamagedCacheError, UnreadableError
from cache.format.layout import attribute, open_checked
from cache.format.plain_rows import PlainRows
from cache.format.source_file import SourceFile
from cache.format.stored_tables import StoredTable, open_table, read_whole
from cache.format.writer import BLOCK_ROWS, array_digest, content_sha256, decode_strings
from cache.tokens import is_out_of_order

__all__ = ["CheckedTables"]

MOST_HASHED_BYTES = 2**24  # larger tables are covered by the checksums of their chunks


class CheckedTables:
    """The tables of a sealed cache by their paths in the file.

    Raises:
        FileNotFoundError, NotACacheError, DamagedCacheError, UnknownVersionError, UnsafeFileError:
            as `cache.format.layout.open_checked` does.
        DamagedCacheError, UnreadableError: in each method, what is read is not what was written, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_checked(path)
        self._trusted_digests: dict[str, str] | None = None  # once they were held against content_sha256
        self._checked: set[str] = set()  # the paths of tables that were held against their digests

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return bool(self.file)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    @property
    def content_sha256(self) -> str:
        """The SHA-256 over all that the cache holds."""
        with self._reading("content_sha256"):
            return str(attribute(self.file, "content_sha256") or "")

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of every table, by its path."""
        try:
            digests = json.loads(self.text("digests"))
        except (ValueError, RecursionError) as error:
            raise self.damaged("digests", error) from error
        if not isinstance(digests, dict):
            raise self.damaged("digests", "it is no JSON object")
        return digests

    def shape(self, path: str) -> tuple[int, ...]:
        """Return a table's shape."""
        return self._table(path).shape

    def names(self, path: str) -> list[str]:
        """Return the names of a group's members; the path of the root group is ``""``."""
        names = self.file.stored.get(path)
        if not isinstance(names, list):
            raise self.damaged(path, "there is no such group")
        return names.copy()

    def paths(self) -> list[str]:
        """Return the paths of all tables, sorted by group and name."""
        return [path for path, item in self.file.stored.items() if isinstance(item, StoredTable)]

    def has(self, path: str) -> bool:
        """Return whether there is such a table or group."""
        return path in self.file.stored

    def read(self, path: str, rows: slice | None = None) -> np.ndarray:
        """Return a table, or some of its rows."""
        table = self._table(path)
        with self._reading(path):
            array = read_whole(self.file, path, table) if rows is None else self.dataset(path)[rows]
        if rows is None and not _is_checked_by_chunks(table) and path != "digests":
            self._check_digest(path, np.asarray(array, dtype=table.dtype))
        return array

    def dataset(self, path: str) -> h5py.Dataset:
        """Return a table as h5py has it: what is read of it is held against the checksums of its chunks alone."""
        return h5py.Dataset(open_table(self.file, path), readonly=True)

    def blocks(self, path: str) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield a table by blocks: the rows of each, and their values."""
        table = None if _is_checked_by_chunks(self._table(path)) else self.read(path)
        for rows in row_blocks(self.shape(path)[0], BLOCK_ROWS):
            yield rows, self.read(path, rows) if table is None else table[rows]

    def block(self, path: str, rows: slice) -> np.ndarray:
        """Return some rows of a table; a small one is held against its digest first."""
        return self.read(path, rows) if _is_checked_by_chunks(self._table(path)) else self.read(path)[rows]

    def whole(self, path: str) -> np.ndarray:
        """Return a table as a large array (`cache.arrays.large_arrays`)."""
        table = self._table(path)
        array = empty(table.shape, table.dtype)
        for rows, block in self.blocks(path):
            array[rows] = block
        return array

    def ascii(self, path: str) -> np.ndarray:
        """Return a table of ASCII letters."""
        array = self.read(path)
        if array.view(np.uint8).max(initial=0) > 127:
            raise self.damaged(path, "it is not ASCII")
        return array

    def ascii_blocks(self, path: str) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield a table of ASCII letters by blocks, as `blocks` does."""
        for rows, block in self.blocks(path):
            if block.view(np.uint8).max(initial=0) > 127:
                raise self.damaged(path, "it is not ASCII")
            yield rows, block

    def text(self, path: str) -> str:
        """Return a scalar table of letters."""
        return bytes(self.read(path)).decode(errors="replace")

    def strings(self, path: str) -> list[str]:
        """Return a column of strings."""
        utf8 = self.read(f"{path}/utf8")
        return decode_strings(utf8, self.offsets(f"{path}/offset", len(utf8)))

    def offsets(self, path: str, n_rows: int) -> np.ndarray:
        """Return the offsets that cut `n_rows` rows into N consecutive ranges, (N + 1,) int64."""
        offsets = self.whole(path)
        if offsets[0] != 0 or offsets[-1] != n_rows or is_out_of_order(offsets):
            raise self.damaged(path, "the offsets are out of order")
        return offsets

    def plain_rows(self, path: str) -> PlainRows:
        """Return a table's rows as bytes of the file."""
        with self._reading(path):
            return PlainRows(self.dataset(path), cast("SourceFile", self.file.source))

    def _table(self, path: str) -> StoredTable:
        """Return a table's shape, type and storage."""
        table = self.file.stored.get(path)
        if not isinstance(table, StoredTable):
            raise self.damaged(path, "there is no such table")
        return table

    def _check_digest(self, path: str, array: np.ndarray) -> None:
        """Check a table that is read for the first time: HDF5's checksums are of chunks alone, and specs have none."""
        if path in self._checked:
            return
        if self._trusted_digests is None:
            digests = self.digests
            if content_sha256(digests) != self.content_sha256:
                raise self.damaged("digests", "it does not match content_sha256")
            self._trusted_digests = digests
        if self._trusted_digests.get(path) != array_digest(array):
            raise self.damaged(path, "it does not match its digest")
        self._checked.add(path)

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        """Turn HDF5's errors into `DamagedCacheError`, unless the system could not read the file."""
        try:
            with self.file.reading():
                yield
        except UnreadableError:
            raise
        except (KeyError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise self.damaged(path, error) from error

    def damaged(self, path: str, reason: object) -> DamagedCacheError:
        """Return the error that says what is wrong with a table."""
        return DamagedCacheError(
            f"{self.path} is damaged at {path} ({reason}). Run cache-verify, and restore it from a copy or delete it "
            "and run embed-extract again."
        )


def _is_checked_by_chunks(table: StoredTable) -> bool:
    return table.has_checksums and math.prod(table.shape) * table.dtype.itemsize > MOST_HASHED_BYTES
