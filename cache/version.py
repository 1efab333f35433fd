"""The version of embed-once."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["version_here"]


@cache
def version_here() -> str:
    """Return the version of embed-once in this environment, looked up once."""
    try:
        return version("embed-once")
    except PackageNotFoundError:  # a checkout that is not installed
        return "checkout"
