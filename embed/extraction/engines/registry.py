"""The engines that there are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from embed.errors import SettingError

__all__ = ["ENGINES", "find_engine"]

# An engine is a file with one function, and a line here:
# ``encode(runs, inventory, settings)`` encodes what the inventory lacks of each run, and returns a report of each. What
# it made is in the inventory's journal then, and contents that changed meanwhile are in each run's `changed`.
ENGINES = {
    "local": "embed.extraction.engines.local_engine",
    "ray": "embed.extraction.engines.ray_engine",
}


def find_engine(name: str) -> Any:
    """Return the module of an engine.

    Raises:
        SettingError: there is none of this name.
    """
    if name not in ENGINES:
        raise SettingError(f"--engine: expected {' or '.join(ENGINES)}, got {name!r}.")
    return import_module(ENGINES[name])
