"""Whether the disk has space for what is going to be extracted."""

from __future__ import annotations

import shutil
from pathlib import Path

from cache import CacheError

__all__ = ["check_space", "free_bytes", "needed_bytes"]


def needed_bytes(n_bytes: int) -> int:
    """Return what vectors and tokens of `n_bytes` take at most: as parts of the journal, and once more at sealing."""
    return 2 * n_bytes


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free where the folder is."""
    return shutil.disk_usage(folder).free


def check_space(folder: Path, *, n_bytes: int) -> None:
    """Check that the disk has space for vectors and tokens of `n_bytes`.

    Raises:
        CacheError: it has not.
    """
    free, needed = free_bytes(folder), needed_bytes(n_bytes)
    if free < needed:
        raise CacheError(
            f"Extraction needs {needed / 1e6:.0f} MB beside the cache while it seals, however {free / 1e6:.0f} MB are "
            f"free on the disk of {folder.resolve()}. Free some, choose another place with -o, or keep fewer --tokens."
        )
