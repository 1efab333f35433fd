"""`CheckedTables`: the tables of an open cache, each held against its digest or checksums as it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import h5py
import numpy as np

from cache.errors import DamagedCacheError, UnreadableError
from cache.large_arrays import empty, row_blocks
from cache.layout import attribute, open_checked
from cache.plain_rows import PlainRows
from cache.source_file import SourceFile
from cache.tokens import is_out_of_order
from cache.writer import BLOCK_ROWS, array_digest, content_sha256, decode_strings

__all__ = ["CheckedTables"]

MOST_HASHED_BYTES = 2**24  # larger tables are covered by the checksums of their chunks


class _Facts(NamedTuple):
    """What a table is; HDF5 says each of them anew whenever it is asked, which takes as long as to read a small one."""

    shape: tuple[int, ...]
    dtype: np.dtype
    is_checked_by_chunks: bool


class CheckedTables:
    """The tables of a sealed cache by their paths in the file.

    Raises:
        FileNotFoundError, NotACacheError, DamagedCacheError, UnknownVersionError, UnsafeFileError:
            as `cache.layout.open_checked` does.
        DamagedCacheError, UnreadableError: in each method, what is read is not what was written, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_checked(path)
        self._unread: dict[str, str] = {}  # the digests of what has not been read yet
        self._known: dict[str, _Facts] = {}
        self._names: dict[str, list[str]] = {}

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
        return self._facts(path).shape

    def names(self, path: str) -> list[str]:
        """Return the names of what a group holds."""
        if path not in self._names:
            with self._reading(path):
                self._names[path] = list(self.file[path])
        return self._names[path].copy()

    def has(self, path: str) -> bool:
        """Return whether there is such a table or group."""
        group, _, name = path.rpartition("/")
        return (not group or self.has(group)) and name in self.names(group or "/")

    def read(self, path: str, rows: slice | None = None) -> np.ndarray:
        """Return a table, or some of its rows."""
        with self._reading(path):
            dataset = self._open(path)
            facts = self._facts(path, dataset)
            array = _whole(dataset, facts) if rows is None else dataset[rows]
        if rows is None and not facts.is_checked_by_chunks and path != "digests":
            self._check_digest(path, np.asarray(array, dtype=facts.dtype))
        return array

    def blocks(self, path: str) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the rows of a table by blocks."""
        whole = None if self._facts(path).is_checked_by_chunks else self.read(path)
        for rows in row_blocks(self.shape(path)[0], BLOCK_ROWS):
            yield rows, self.read(path, rows) if whole is None else whole[rows]

    def block(self, path: str, rows: slice) -> np.ndarray:
        """Return some rows of a table; a small one is held against its digest first."""
        return self.read(path, rows) if self._facts(path).is_checked_by_chunks else self.read(path)[rows]

    def whole(self, path: str) -> np.ndarray:
        """Return a table as a large array (`cache.large_arrays`)."""
        facts = self._facts(path)
        array = empty(facts.shape, facts.dtype)
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
        """Yield the rows of a table of ASCII letters by blocks."""
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
        """Return where each of the ranges begins that so many rows are cut into, (N + 1,) int64."""
        offsets = self.whole(path)
        if offsets[0] != 0 or offsets[-1] != n_rows or is_out_of_order(offsets):
            raise self.damaged(path, "the offsets are out of order")
        return offsets

    def plain_rows(self, path: str) -> PlainRows:
        """Return a table's rows as bytes of the file."""
        with self._reading(path):
            return PlainRows(self.file[path], cast("SourceFile", self.file.source))

    def _open(self, path: str) -> h5py.Dataset:
        """Return a table by h5py's lower functions: its `file[path]` makes a file object, too."""
        return h5py.Dataset(h5py.h5o.open(self.file.id, path.encode()), readonly=True)

    def _facts(self, path: str, dataset: h5py.Dataset | None = None) -> _Facts:
        """Return what a table is, which `dataset` is where it is open."""
        if path not in self._known:
            with self._reading(path):
                dataset = self._open(path) if dataset is None else dataset
                shape, dtype = tuple(int(size) for size in dataset.shape), dataset.dtype
                is_large = math.prod(shape) * dtype.itemsize > MOST_HASHED_BYTES
                self._known[path] = _Facts(shape, dtype, is_large and bool(dataset.fletcher32))
        return self._known[path]

    def _check_digest(self, path: str, array: np.ndarray) -> None:
        """Check what was read for the first time: checksums are of chunks alone, and specs have none."""
        if not self._unread:
            self._unread = self.digests
            if content_sha256(self._unread) != self.content_sha256:
                raise self.damaged("digests", "it does not match content_sha256")
        expected = self._unread.get(path)
        if expected != "":
            if expected != array_digest(array):
                raise self.damaged(path, "it does not match its digest")
            self._unread[path] = ""

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


def _whole(dataset: h5py.Dataset, facts: _Facts) -> np.ndarray:
    """Return a whole table by h5py's lower function, which reads a small one in half the time."""
    array = np.empty(facts.shape, facts.dtype)
    if array.size:
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array if array.ndim else array[()]
