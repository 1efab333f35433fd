"""Arrays as long as a catalogue: in memory as far as they may take it, beyond that in files without a name."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cache.errors import CacheError

__all__ = ["GrowingArray", "arange", "empty", "full", "let_go", "memory_limit", "row_blocks"]

BLOCK_ROWS = 2**18  # worked on at once
SMALL_BYTES = 2**20  # which are in memory whatever the limit


class _Limit:
    """How much memory large arrays may take, and the folder of the files that have the others."""

    def __init__(self, most_bytes: float, folder: Path) -> None:
        self.most_bytes, self.folder = most_bytes, folder
        self.n_bytes = 0  # that live arrays take
        self._mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def take(self, n_bytes: int) -> bool:
        """Return whether so much more is there, and take it."""
        if self.n_bytes + n_bytes > self.most_bytes:
            return False
        self.n_bytes += n_bytes
        return True

    def give_back(self, n_bytes: int) -> None:
        self.n_bytes -= n_bytes

    def file(self) -> BinaryIO:
        with self._naming(0):
            return tempfile.TemporaryFile(dir=self.folder)

    def append(self, file: BinaryIO, array: np.ndarray) -> None:
        with self._naming(array.nbytes):
            file.write(np.ascontiguousarray(array).data)

    def mapped(self, n_bytes: int, file: BinaryIO | None = None) -> mmap.mmap:
        """Return a file's bytes as memory; those of a new one have their space on the disk, or writing would kill."""
        with self.file() if file is None else file as opened, self._naming(n_bytes):
            opened.flush()
            if file is None:
                _reserve(opened, n_bytes)
            pages = mmap.mmap(opened.fileno(), n_bytes)
        self._mapped.add(pages)
        return pages

    def let_go(self) -> None:
        """Have no page of the files counted as this process's memory; the system keeps them as it sees fit."""
        for pages in self._mapped:
            pages.madvise(mmap.MADV_DONTNEED)

    @contextmanager
    def _naming(self, n_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"Expected {n_bytes / 1e6:.1f} MB of space in {self.folder} for what does not fit into --memory, but: "
                f"{error.strerror or error}. Free some, or permit more with --memory; nothing that was encoded is lost."
            ) from error


def _reserve(file: BinaryIO, n_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return
    for start in range(0, n_bytes, SMALL_BYTES):
        file.write(bytes(min(SMALL_BYTES, n_bytes - start)))
    file.flush()


_NONE = _Limit(float("inf"), Path())
_limit: ContextVar[_Limit] = ContextVar("large_arrays", default=_NONE)


@contextmanager
def memory_limit(most_bytes: int, folder: Path) -> Iterator[None]:
    """Have the large arrays that this thread makes take no more memory in this block; others are files in `folder`.

    Raises:
        CacheError: there is no space for them, at whatever makes one.
    """
    token = _limit.set(_Limit(most_bytes, folder))
    try:
        yield
    finally:
        _limit.reset(token)


def empty(shape: int | tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return an array whose values are yet to be set.

    Raises:
        CacheError: there is no space for it.
    """
    dtype, limit = np.dtype(dtype), _limit.get()
    n_values = int(np.prod(shape, dtype=np.int64))
    n_bytes = n_values * dtype.itemsize
    if n_bytes <= SMALL_BYTES or limit is _NONE:
        return np.empty(shape, dtype)
    if limit.take(n_bytes):
        array = np.empty(shape, dtype)
        weakref.finalize(array, limit.give_back, n_bytes)
        return array
    return np.frombuffer(limit.mapped(n_bytes), dtype, n_values).reshape(shape)


def full(shape: int | tuple[int, ...], value: object, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return an array of one value; errors as those of `empty`."""
    array = empty(shape, dtype)
    for rows in row_blocks(len(array)):
        array[rows] = value
    return array


def arange(n_rows: int, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return 0, 1, … up to a number, which is not among them; errors as those of `empty`."""
    array = empty(n_rows, dtype)
    for rows in row_blocks(n_rows):
        array[rows] = np.arange(rows.start, rows.stop)
    return array


def row_blocks(n_rows: int, block_rows: int | None = None) -> Iterator[slice]:
    """Yield the rows in blocks; what was read of files is no memory of this process after each."""
    size = block_rows or BLOCK_ROWS
    limit = _limit.get()
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
        limit.let_go()


def let_go() -> None:
    """Have nothing that was read of files counted as memory of this process, until it is read again."""
    _limit.get().let_go()


class GrowingArray:
    """An array of which it is not known how long it gets.

    Raises:
        CacheError: there is no space for more.
    """

    def __init__(self, dtype: np.typing.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._limit = _limit.get()
        self._bytes = bytearray()  # which grow without a copy beside them
        self._n_taken = 0  # of them, of what the limit has
        self._file: BinaryIO | None = None

    def extend(self, array: np.ndarray) -> None:
        """Put some more behind."""
        n_bytes = len(self._bytes) + array.nbytes
        if self._file is None and n_bytes > SMALL_BYTES:
            if self._limit.take(n_bytes - self._n_taken):
                self._n_taken = n_bytes
            else:
                self._file = self._limit.file()
                self._limit.append(self._file, np.frombuffer(self._bytes, dtype=np.uint8))
                self._limit.give_back(self._n_taken)
                self._bytes, self._n_taken = bytearray(), 0
        if self._file is None:
            self._bytes += np.ascontiguousarray(array).data
        else:
            self._limit.append(self._file, array)

    def array(self) -> np.ndarray:
        """Return all; nothing more can be put behind."""
        if self._file is not None:
            return np.frombuffer(self._limit.mapped(self._file.tell(), self._file), self._dtype)
        array = np.frombuffer(self._bytes, self._dtype)
        weakref.finalize(array, self._limit.give_back, self._n_taken)
        return array
