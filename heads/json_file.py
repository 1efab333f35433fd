"""JSON files that a person can read."""

from __future__ import annotations

import json
from pathlib import Path

from cache.system.stray_bytes import shown_values

__all__ = ["write_json"]


def write_json(path: Path, value: object, *, is_exact: bool = False) -> None:
    r"""Write a value; bytes that are not Unicode stand as ``\xe9``, which any program reads.

    Where `is_exact`, Python reads these bytes back as they were, but other programs may refuse the file.
    """
    text = json.dumps(value if is_exact else shown_values(value), indent=1, ensure_ascii=False)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
