"""Whether the disk has space for what is going to be extracted."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cache import CacheError, Journal
from cache.cloud.addresses import is_address
from cache.system.reading import facts_of

__all__ = ["check_space", "folder_beside", "free_bytes", "needed_bytes"]


def folder_beside(cache_path: str | Path) -> Path:
    """Return a folder that is there, on the disk on which the cache stands or will stand; of one in a bucket another.

    >>> folder_beside("/not/there/e.h5"), folder_beside("/")
    (PosixPath('/'), PosixPath('/'))
    """
    if is_address(cache_path):
        return Path(tempfile.gettempdir())
    path = Path(os.path.realpath(cache_path))
    return next(folder for folder in (path, *path.parents) if os.path.isdir(folder))


def needed_bytes(cache_path: Path, *, n_bytes: int) -> int:
    """Return the bytes that must be free for vectors and tokens of `n_bytes` to come into a cache.

    They are written as parts of the journal; then sealing writes all that the old cache and all parts hold once more.
    """
    paths = [cache_path, *Journal(cache_path).paths()]
    return sum(facts.st_size for path in paths if (facts := facts_of(path)) is not None) + 2 * n_bytes


def free_bytes(cache_path: Path) -> int:
    """Return the bytes that are free where the cache stands."""
    return shutil.disk_usage(cache_path.absolute().parent).free


def check_space(cache_path: Path, *, n_bytes: int) -> None:
    """Check that the disk has space for vectors and tokens of `n_bytes`.

    Raises:
        CacheError: it has not.
    """
    free, needed = free_bytes(cache_path), needed_bytes(cache_path, n_bytes=n_bytes)
    if free < needed:
        raise CacheError(
            f"Extraction needs {needed / 1e6:.1f} MB on the disk of {cache_path} while it seals, but "
            f"{free / 1e6:.1f} MB are free. Free some and type the same line again, choose another place with -o, or "
            "keep fewer --tokens or none."
        )
