"""What a store tells of an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ObjectFacts", "facts_in", "quoted_tag"]


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a store tells of an object; objects of other bytes have other tags."""

    etag: str
    n_bytes: int
    version: str | None = None  # by which Google knows it


def facts_in(meta: Any) -> ObjectFacts:
    """Return what obstore tells of an object."""
    return ObjectFacts(quoted_tag(meta["e_tag"]), meta["size"], meta["version"])


def quoted_tag(etag: str | None) -> str:
    """Return a tag with its quotes, which Azure's listings leave out."""
    return f'"{etag}"' if etag and not etag.endswith('"') else etag or ""
