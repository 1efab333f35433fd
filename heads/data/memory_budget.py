"""How much memory a training may take."""

from __future__ import annotations

import os
import re
from pathlib import Path

from heads.errors import SettingError

__all__ = ["memory_bytes"]

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_bytes(text: str | None) -> int:
    """Return the bytes that a size such as ``8G`` says; half of what the machine has where none is said.

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


def _physical_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return physical
