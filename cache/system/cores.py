"""How many cores there are to compute on."""

from __future__ import annotations

import os

__all__ = ["count_cores", "limit_cores"]

_most: int | None = None  # of this process, if others share the machine


def count_cores() -> int:
    """Return how many cores this process may use; in a container the machine may have many more."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return n_cores if _most is None else min(n_cores, _most)


def limit_cores(most: int) -> None:
    """Have this process use so many cores at most: a worker, beside others on a machine."""
    global _most  # noqa: PLW0603 - a worker is a process of its own
    _most = max(1, most)
