"""The named errors of the project; their messages say what was expected, what came, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

__all__ = [
    "CacheError",
    "CacheLockedError",
    "CloudError",
    "DamagedCacheError",
    "EmbedOnceError",
    "MissingEntryError",
    "NotACacheError",
    "SettingError",
    "SpecConflictError",
    "UnknownVersionError",
    "UnreadableError",
    "UnsafeFileError",
    "WorkerError",
]

_WAYS_OUT = (
    dict.fromkeys((errno.EMFILE, errno.ENFILE), "Permit more open files (ulimit -n)")
    | dict.fromkeys((errno.ENOMEM, errno.ENOBUFS), "Free some memory")
    | dict.fromkeys((errno.EACCES, errno.EPERM), "Permit reading it")
)


class EmbedOnceError(Exception):
    """A failure with a name: commands print it as one line and exit with 1."""

    def __str__(self) -> str:
        # KeyError would show its message in quotes.
        return str(self.args[0]) if self.args else ""


class SettingError(EmbedOnceError, ValueError):
    """A setting is out of its range."""


class WorkerError(EmbedOnceError, RuntimeError):
    """Workers on other machines did not do their tasks."""


class CacheError(EmbedOnceError):
    """Something is wrong with a cache, or with what is asked of it."""


class NotACacheError(CacheError, ValueError):
    """The file is no cache of this project."""


class DamagedCacheError(CacheError, ValueError):
    """The file was a cache, and is truncated or altered."""


class UnknownVersionError(CacheError, ValueError):
    """The file was written by a version of the format that this code does not know."""


class UnsafeFileError(CacheError, ValueError):
    """The file would make HDF5 touch something outside itself, or claims more than it holds."""


class MissingEntryError(CacheError, KeyError):
    """The cache holds no such modality, encoder or column."""


class SpecConflictError(CacheError, ValueError):
    """Vectors made in another way already stand under this name."""


class CacheLockedError(CacheError, RuntimeError):
    """Another process is writing this cache.

    Attributes:
        left_lock: the file to remove if that process has ended, where the file system has no locks that would tell.
    """

    left_lock: Path | None = None


class CloudError(CacheError):
    """A bucket refuses a request, cannot do it, or does not answer; nothing is known of its objects."""


class UnreadableError(CacheError, OSError):
    """The system could not read a file; its ``errno`` says why, and nothing is known of what is in the file.

    Its arguments are those of any `OSError`: an errno, what that means, and a path.
    """

    def __str__(self) -> str:
        return (
            f"Could not read {self.filename}: {self.strerror}. Nothing in it was changed. "
            f"{_WAYS_OUT.get(self.errno or 0, 'See that its disk answers')}, then type the same line again."
        )
