"""JSON files that a person can read."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["write_json"]


def write_json(path: Path, value: object) -> None:
    """Write a value; what is not Unicode in it is escaped, and read back as it was."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8", errors="backslashreplace")
