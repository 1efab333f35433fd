"""Engines by name: who does the work of a command, this process or workers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from cache.errors import SettingError

__all__ = ["find_engine"]


def find_engine(engines: Mapping[str, str], name: str) -> Any:
    """Return the engine of a name from a registry {name: ``module:attribute``}; its module is imported now.

    >>> find_engine({"local": "math:hypot"}, "local")(3, 4)
    5.0

    Raises:
        SettingError: there is no such engine.
    """
    if name not in engines:
        raise SettingError(f"--engine: expected {' or '.join(engines)}, got {name!r}.")
    module, _, attribute = engines[name].partition(":")
    return getattr(import_module(module), attribute)
