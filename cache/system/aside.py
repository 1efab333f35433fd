"""Files written aside, and put in place whole by a rename."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["PatientFile", "fsync_folder", "fsync_tree", "write_aside"]


def write_aside(path: Path, write: Callable[[Path], object], *, folder: Path) -> Path:
    """Write a file aside in `folder`, fsync it, rename it to `path`, fsync the folder of `path`; return `path`.

    Raises:
        OSError: any of it failed; what stood at `path` before still does, and nothing is left aside.
    """
    aside = folder / f"{os.getpid()}-{path.name}.tmp"
    try:
        write(aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
    return path


class PatientFile(io.FileIO):
    """A file for h5py that keeps the error of its first failed write until `check` is called.

    HDF5 crashes the process when it closes a file whose last writes failed, as on a full disk. So this class reports
    success to HDF5, writes nothing more, and `check` raises the error when HDF5 is done.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: object) -> int:
        """Write all of `data`, or note why it cannot be written."""
        view = memoryview(data)  # type: ignore[arg-type]
        n_bytes = view.nbytes
        while self.error is None and view.nbytes:
            try:
                view = view[super().write(view) :]
            except OSError as error:
                self.error = error.with_traceback(None)  # without frames: they hold objects that must not outlive HDF5
        return n_bytes

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size, or note why it cannot be set."""
        if self.error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.error = error.with_traceback(None)  # without frames: they hold objects that must not outlive HDF5
        return size or 0

    def check(self) -> None:
        """Raise the first error of writing, if any.

        Raises:
            OSError: a write failed.
        """
        if self.error is not None:
            raise self.error


def fsync_folder(folder: Path) -> None:
    """Bring the folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Bring all files below a folder to the disk, and then the lists of their names."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            fsync_tree(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    fsync_folder(folder)
