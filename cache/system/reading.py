"""Reading files: an error of the operating system is an `UnreadableError`, never taken for damage or a missing file.

``Path.exists``, ``is_file`` and ``glob`` answer "no" to some of these errors; which ones depends on the Python release.
Where a wrong "no" would have work repeated or overwritten, the functions of this module are used instead.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cache.errors import UnreadableError
from cache.system.out_of_memory import is_out_of_memory

__all__ = ["SHORTAGES", "facts_of", "names_in", "raise_if_refused", "reading"]

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})  # of the machine, not of one file


def raise_if_refused(error: BaseException, path: str | Path) -> None:
    """Raise an `UnreadableError` with the path if the system could not read the file; return for any other error.

    A missing file is such another error: the caller knows what it means.

    Raises:
        UnreadableError: the error has an errno, or memory ran out.
    """
    if isinstance(error, UnreadableError):
        raise error
    number = errno.ENOMEM if is_out_of_memory(error) else None
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | NotADirectoryError):
        number = number or error.errno
    if number is not None:
        raise UnreadableError(number, os.strerror(number), str(path)) from error


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn the operating system's errors in the block into `UnreadableError`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        UnreadableError: the system could not read it.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        raise_if_refused(error, path)
        raise


def facts_of(path: str | Path, *, follow_symlinks: bool = True) -> os.stat_result | None:
    """Return what `os.stat` tells of a file or folder; None where there is none.

    Raises:
        UnreadableError: it cannot be told whether there is one.
    """
    with suppress(FileNotFoundError, NotADirectoryError), reading(path):
        return os.stat(path, follow_symlinks=follow_symlinks)
    return None


def names_in(folder: str | Path) -> list[str]:
    """Return the names in a folder, sorted; none where there is no such folder.

    Raises:
        UnreadableError: it cannot be told what is in it.
    """
    with suppress(FileNotFoundError, NotADirectoryError), reading(folder):
        return sorted(os.listdir(folder))
    return []
