"""Files that HDF5 reads through Python, so that the system's own error is known when the library fails.

HDF5 keeps the errno of a failed read to itself, or takes what it could not read for a table that is not there. So it
gets its bytes from a `SourceFile`, which remembers the first failure and gives zeros from then on, and a `CheckedFile`
raises that failure after each use. No exception passes through the library itself, and no signal does.
"""

from __future__ import annotations

import atexit
import errno
import io
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from cache.errors import UnreadableError
from cache.format.stored_tables import Items
from cache.system.out_of_memory import is_out_of_memory
from cache.system.reading import raise_if_refused, reading
from cache.system.stop_signals import signals_held

__all__ = ["CheckedFile", "Identity", "SourceFile"]

Identity = tuple[int, int, int, int]  # device, inode, size, time of modification in ns


class SourceFile(io.RawIOBase):
    """A file's bytes for h5py; the first failure to read them is kept until `check` is called.

    Each read names its position, so that threads and forked processes may share the descriptor.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: the system cannot open it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.error: OSError | MemoryError | None = None
        self._position = 0
        self._descriptor = -1
        with reading(path):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            facts = os.fstat(self._descriptor)
        self.n_bytes = facts.st_size
        self.identity: Identity = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, from the start or from the end, and return it."""
        self._position = offset + (self.n_bytes if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: object) -> int:
        """Fill the buffer from the position, with zeros after a failure or the file's end; return how much was read."""
        n_read = self._fill(memoryview(buffer).cast("B"), self._position)  # type: ignore[arg-type]
        self._position += n_read
        return n_read

    def _fill(self, view: memoryview, position: int) -> int:
        n_read = 0
        while self.error is None and n_read < len(view):
            try:
                n_more = os.preadv(self._descriptor, [view[n_read:]], position + n_read)
            except (OSError, MemoryError) as error:
                self.error = error.with_traceback(None)  # its frames hold HDF5's arguments, which hold this file
            else:
                n_read += n_more
                if not n_more:
                    if position + n_read < self.n_bytes:
                        self.error = OSError(errno.EIO, "the file ends before its size")
                    break
        view[n_read:] = bytes(len(view) - n_read)
        return n_read

    def bytes_at(self, position: int, n_bytes: int) -> bytearray:
        """Return some bytes of the file; the position at which HDF5 reads stays as it is.

        Raises:
            UnreadableError: they could not be read, or not all of them.
        """
        content = bytearray(n_bytes)
        n_read = self._fill(memoryview(content), position)
        self.check()
        if n_read < n_bytes:
            raise_if_refused(OSError(errno.EIO, "the file ends before them"), self.path)
        return content

    def check(self) -> None:
        """Raise the first failure of a read by HDF5, if any.

        Raises:
            UnreadableError: a read failed; from then on all that was read is worth nothing.
        """
        if self.error is not None:
            raise_if_refused(self.error, self.path)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            super().close()
            if self._descriptor >= 0:
                os.close(self._descriptor)


class CheckedFile(h5py.File):
    """An HDF5 file opened for reading from a `SourceFile`, or from bytes that were read before."""

    def __init__(self, source: SourceFile | io.BytesIO) -> None:
        self.source = source
        self.stored: Items = {}  # what `cache.format.layout.open_checked` found in it
        self.n_bytes = source.n_bytes if isinstance(source, SourceFile) else source.getbuffer().nbytes
        with signals_held():
            try:
                super().__init__(source, "r")
            except Exception as error:  # noqa: BLE001 - it is raised again
                # h5py's frames hold a property list whose release calls Python: they must not outlive the interpreter.
                raise error.with_traceback(None)  # noqa: B904 - it is the same error
            _open_files[id(self)] = weakref.ref(self)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn failed reads in the block into `UnreadableError`, whatever error HDF5 made of them.

        Raises:
            UnreadableError: a read failed, now or before.
        """
        with signals_held():
            try:
                yield
            except UnreadableError:
                raise
            except Exception as error:
                self._check()
                if isinstance(self.source, SourceFile) and is_out_of_memory(error):
                    raise_if_refused(error, self.source.path)
                raise
            self._check()

    def close(self) -> None:
        """Close the file and its source."""
        with signals_held():
            super().close()
            self.source.close()
            _open_files.pop(id(self), None)

    def _check(self) -> None:
        if isinstance(self.source, SourceFile):
            self.source.check()


# Not a WeakValueDictionary: a signal that meets its callbacks is lost.
_open_files: dict[int, weakref.ref[CheckedFile]] = {}


@atexit.register
def _close_open_files() -> None:
    """Close files that were left open: HDF5 would close them after Python has shut down, call into it, and crash."""
    for reference in list(_open_files.values()):
        if (file := reference()) is not None:
            file.close()
