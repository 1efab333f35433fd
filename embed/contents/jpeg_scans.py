"""How often a JPEG goes over its picture: each scan costs a pass, and a progressive one may have any number."""

from __future__ import annotations

import re

__all__ = ["MAX_SCANS", "has_too_many_scans"]

MAX_SCANS = 100  # encoders write some ten

_END, _START_OF_SCAN = 0xD9, 0xDA
_MARKER = re.compile(rb"\xff+([^\0\xff\x01\xd0-\xd8])")  # none that may stand in a scan, or without a length


def has_too_many_scans(content: bytes) -> bool:
    """Return whether a JPEG's first picture has more than `MAX_SCANS` scans, without decoding it."""
    if content.count(b"\xff\xda") <= MAX_SCANS:  # there may be such bytes in thumbnails and profiles too
        return False
    n_scans, offset = 0, 2
    while (marker := _MARKER.search(content, offset)) is not None and marker[1][0] != _END:
        n_scans += marker[1][0] == _START_OF_SCAN
        if n_scans > MAX_SCANS:
            return True
        offset = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
    return False
