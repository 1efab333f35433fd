"""The engines that there are: a file with one function, and a line here.

``encode(runs, inventory, settings)`` encodes what the inventory lacks of each run, and returns a report of each. What
it made is in the inventory's journal then, and contents that changed meanwhile are in each run's `changed`.
"""

from __future__ import annotations

__all__ = ["ENGINES"]

ENGINES = {
    "local": "embed.extraction.engines.local_engine:encode",
    "ray": "embed.extraction.engines.ray_engine:encode",
}
