"""The engines by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from heads.errors import SettingError

__all__ = ["ENGINES", "engine_type"]

ENGINES = {
    "local": "heads.ablation.engines.local_engine:LocalEngine",
    "ray": "heads.ablation.engines.ray_engine:RayEngine",
}


def engine_type(name: str) -> Any:
    """Return an engine's class; it is imported now, and what it needs besides.

    Raises:
        SettingError: there is no such engine.
    """
    if name not in ENGINES:
        raise SettingError(f"--engine: expected one of {', '.join(ENGINES)}, got {name!r}.")
    module, _, kind = ENGINES[name].partition(":")
    return getattr(import_module(module), kind)
