"""How many cores there are to compute on."""

from __future__ import annotations

import os

__all__ = ["count_cores", "limit_cores"]

_max_cores: int | None = None  # of this process, if others share the machine


def count_cores() -> int:
    """Return how many cores this process may use; in a container the machine may have many more."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return n_cores if _max_cores is None else min(n_cores, _max_cores)


def limit_cores(max_cores: int) -> None:
    """Limit the cores that `count_cores` returns in this process: a worker's, beside others on the machine."""
    global _max_cores  # noqa: PLW0603 - a worker is a process of its own
    _max_cores = max(1, max_cores)
