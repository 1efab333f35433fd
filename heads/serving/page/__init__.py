"""The page of `heads-serve`: its files, by the path at which each is sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["FILES", "KINDS"]

KINDS = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
FILES: Mapping[str, Path] = {
    "/" if path.name == "index.html" else f"/{path.name}": path
    for path in sorted(Path(__file__).parent.iterdir())
    if path.suffix in KINDS
}
