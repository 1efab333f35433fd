"""How much memory vectors may take."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cache.errors import CacheError, SettingError

__all__ = ["check_memory", "memory_bytes"]

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_bytes(text: str | None) -> int:
    """Return the bytes of a size such as ``8G``; for None half of the machine's memory.

    >>> memory_bytes("1.5G")
    1610612736

    Raises:
        SettingError: the text is no size.
    """
    if text is None:
        return _physical_bytes() // 2
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise SettingError(f"--memory: expected a size such as 8G or 500M, got {text!r}.")
    return int(float(match[1]) * UNITS[match[2].upper()])


def check_memory(n_rows: int, dim: int, *, memory: str | None, what: str) -> None:
    """Check that a float32 matrix of so many rows and dimensions takes no more than `memory` says.

    Products share contents, so that a matrix of products may be far larger than the cache that it comes from.

    Raises:
        CacheError: it takes more.
        SettingError: the text is no size.
    """
    n_bytes, max_bytes = 4 * n_rows * dim, memory_bytes(memory)
    if n_bytes > max_bytes:
        raise CacheError(
            f"Expected {what} to take at most {max_bytes / 1e6:,.1f} MB of memory, got {n_rows} rows of {dim} "
            f"dimensions, {n_bytes / 1e6:,.1f} MB. Permit more with memory={n_bytes // 2**20 + 1}M (--memory), or read "
            "fewer."
        )


def _physical_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return physical
