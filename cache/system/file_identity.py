"""The identity of a file: 16 bytes that are others for another file, and for this one once it has changed."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from pathlib import Path

__all__ = ["identity"]

SETTLED_NS = 100_000_000  # more than a tick of any kernel's clock, by which files are stamped
COARSE_SETTLED_NS = 2_000_000_000  # file systems that keep whole seconds may keep every other one

_FACTS = struct.Struct("<QQqq")


def identity(path: Path) -> bytes:
    """Return 16 bytes that change when the file does; none where it cannot be read or was written a moment ago.

    They are BLAKE2b over the inode, the size, the times of modification and of change, and the path.
    """
    now = time.time_ns()
    try:
        facts = os.stat(path)
    except OSError:
        return b""
    is_coarse = facts.st_mtime_ns % 1_000_000_000 == 0
    if max(facts.st_mtime_ns, facts.st_ctime_ns) + (COARSE_SETTLED_NS if is_coarse else SETTLED_NS) >= now:
        return b""
    packed = _FACTS.pack(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return hashlib.blake2b(packed + os.fsencode(path), digest_size=16).digest()
