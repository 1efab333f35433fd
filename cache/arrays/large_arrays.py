"""Arrays as long as a catalogue: in memory as far as they may take it, beyond that in files without a name."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cache.errors import CacheError

__all__ = ["GrowingArray", "arange", "empty", "flatnonzero", "full", "memory_limit", "release_pages", "row_blocks"]

BLOCK_ROWS = 2**18  # worked on at once
SMALL_BYTES = 2**20  # arrays up to this size are in memory whatever the limit
STORE_BYTES = 2**30  # of one file, at least
ZEROS_BYTES = 2**20  # written at once
WAYS_OUT = (  # of errors that are not for want of space
    dict.fromkeys((errno.EMFILE, errno.ENFILE), "Permit more open files (ulimit -n)")
    | dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Permit writing there")
)


class _Store:
    """A file without a name, mapped whole into memory: arrays lie in it one behind the other, with no descriptor each.

    The file is sparse; an array has its space on the disk when it is made, or writing would kill this process.
    """

    def __init__(self, folder: Path, n_bytes: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # as long as arrays may be added
        weakref.finalize(self, self._file.close)
        self._file.truncate(n_bytes)
        self.pages = mmap.mmap(self._file.fileno(), n_bytes)
        self.n_free = n_bytes
        self.process = os.getpid()  # a process forked from it must not put arrays into the same places

    def add(self, n_bytes: int) -> np.ndarray:
        """Return bytes that are yet to be set, (n_bytes,) uint8; their space is freed with the array."""
        start = len(self.pages) - self.n_free
        _reserve(self._file, start, n_bytes)
        array = np.frombuffer(self.pages, np.uint8, n_bytes, start)
        self.n_free -= _in_pages(n_bytes)
        weakref.finalize(array, _free, self.pages, start, n_bytes, self.process).atexit = False
        return array


class _Limit:
    """How much memory large arrays may take, and the folder of the files that hold those beyond it."""

    def __init__(self, most_bytes: float, folder: Path) -> None:
        self.most_bytes, self.folder = most_bytes, folder
        self.n_bytes = 0  # that live arrays take
        self._store: _Store | None = None  # the last, which has room
        self._mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def take(self, n_bytes: int) -> bool:
        """Count `n_bytes` more as taken and return True; False where the limit does not permit them."""
        if self.n_bytes + n_bytes > self.most_bytes:
            return False
        self.n_bytes += n_bytes
        return True

    def give_back(self, n_bytes: int) -> None:
        self.n_bytes -= n_bytes

    def on_disk(self, n_bytes: int) -> np.ndarray:
        """Return bytes of a file that are yet to be set, (n_bytes,) uint8."""
        try:
            store = self._store
            if store is None or store.n_free < n_bytes or store.process != os.getpid():
                self._store = store = _Store(self.folder, max(STORE_BYTES, _in_pages(n_bytes)))
                self._mapped.add(store.pages)
            return store.add(n_bytes)
        except OSError as error:
            raise CacheError(
                f"Expected {n_bytes / 1e6:.1f} MB of space in {self.folder} for what does not fit into --memory, but: "
                f"{error.strerror or error}. {WAYS_OUT.get(error.errno or 0, 'Free some')}, or permit more with "
                "--memory; nothing that was encoded is lost."
            ) from error

    def release_pages(self) -> None:
        """Drop the files' pages from this process's memory; the system may keep them in its own cache."""
        for pages in self._mapped:
            pages.madvise(mmap.MADV_DONTNEED)


def _in_pages(n_bytes: int) -> int:
    return -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _reserve(file: BinaryIO, start: int, n_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(file.fileno(), start, n_bytes)
        return
    for offset in range(start, start + n_bytes, ZEROS_BYTES):
        os.pwrite(file.fileno(), bytes(min(ZEROS_BYTES, start + n_bytes - offset)), offset)


def _free(pages: mmap.mmap, start: int, n_bytes: int, process: int) -> None:
    """Give an array's space on the disk back at once where that can be done; else it comes back with the file."""
    if hasattr(mmap, "MADV_REMOVE") and os.getpid() == process:
        with suppress(OSError):
            pages.madvise(mmap.MADV_REMOVE, start, n_bytes)


_NO_LIMIT = _Limit(float("inf"), Path())
_limit: ContextVar[_Limit] = ContextVar("large_arrays", default=_NO_LIMIT)


@contextmanager
def memory_limit(most_bytes: int, folder: Path) -> Iterator[None]:
    """Limit the memory of the large arrays that this thread makes in the block; those beyond it are files in `folder`.

    Raises, where an array is made:
        CacheError: there is no space for it.
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
    if n_bytes <= SMALL_BYTES or limit is _NO_LIMIT:
        return np.empty(shape, dtype)
    if limit.take(n_bytes):
        array = np.empty(shape, dtype)
        weakref.finalize(array, limit.give_back, n_bytes)
        return array
    return limit.on_disk(n_bytes).view(dtype).reshape(shape)


def full(shape: int | tuple[int, ...], value: object, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return an array of one value; it raises what `empty` does."""
    array = empty(shape, dtype)
    for rows in row_blocks(len(array)):
        array[rows] = value
    return array


def arange(n_rows: int, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return 0, 1, …, n_rows - 1; it raises what `empty` does."""
    array = empty(n_rows, dtype)
    for rows in row_blocks(n_rows):
        array[rows] = np.arange(rows.start, rows.stop)
    return array


def flatnonzero(is_chosen: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return the indices of true values, (n,) of (N,) bool; it raises what `empty` does."""
    indices, n_indices = empty(int(np.count_nonzero(is_chosen)), dtype), 0
    for rows in row_blocks(len(is_chosen)):
        block_indices = rows.start + np.flatnonzero(is_chosen[rows])
        indices[n_indices : n_indices + len(block_indices)] = block_indices
        n_indices += len(block_indices)
    return indices


def row_blocks(n_rows: int, block_rows: int | None = None) -> Iterator[slice]:
    """Yield slices of `n_rows` rows; after each block, what it read of the files is dropped from memory."""
    size = block_rows or BLOCK_ROWS
    limit = _limit.get()
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
        limit.release_pages()


def release_pages() -> None:
    """Drop what was read of the files from this process's memory, until it is read again."""
    _limit.get().release_pages()


class GrowingArray:
    """A one-dimensional array that values are appended to.

    Raises:
        CacheError: there is no space for more.
    """

    def __init__(self, dtype: np.typing.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._limit = _limit.get()
        self._bytes = bytearray()  # which grow without a copy beside them
        self._n_taken = 0  # how many of them are counted by the limit
        self._pieces: list[np.ndarray] = []  # on the disk, all but the last of them full
        self._n_free = 0  # bytes of the last piece
        self._n_bytes = 0

    def extend(self, array: np.ndarray) -> None:
        """Append an array's values."""
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        n_bytes = self._n_bytes + len(content)
        if not self._pieces and (n_bytes <= SMALL_BYTES or self._limit.take(n_bytes - self._n_taken)):
            self._n_taken = n_bytes if n_bytes > SMALL_BYTES else 0
            self._bytes += content.data
        else:
            if self._bytes:
                self._put(np.frombuffer(self._bytes, dtype=np.uint8))
                self._limit.give_back(self._n_taken)
                self._bytes, self._n_taken = bytearray(), 0
            self._put(content)
        self._n_bytes = n_bytes

    def array(self) -> np.ndarray:
        """Return all values; nothing can be appended afterwards."""
        if self._pieces:
            return self._joined().view(self._dtype)
        array = np.frombuffer(self._bytes, self._dtype)
        weakref.finalize(array, self._limit.give_back, self._n_taken)
        return array

    def _put(self, content: np.ndarray) -> None:
        """Put bytes on the disk; a new piece is a quarter of those before together, so that there are few."""
        while len(content):
            if not self._n_free:
                n_bytes = sum(map(len, self._pieces))
                self._pieces.append(self._limit.on_disk(max(len(content), SMALL_BYTES, n_bytes // 4)))
                self._n_free = len(self._pieces[-1])
            free = self._pieces[-1][-self._n_free :]
            fitting, content = content[: len(free)], content[len(free) :]
            free[: len(fitting)] = fitting
            self._n_free -= len(fitting)
        self._limit.release_pages()

    def _joined(self) -> np.ndarray:
        """Return the bytes of all pieces in one array; each piece is freed as soon as it is copied."""
        joined, start = self._limit.on_disk(self._n_bytes), 0
        while self._pieces:
            piece = self._pieces.pop(0)[: self._n_bytes - start]
            for block in row_blocks(len(piece)):
                joined[start + block.start : start + block.stop] = piece[block]
            start += len(piece)
        return joined
