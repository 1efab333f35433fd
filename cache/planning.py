"""The one decision of what to encode."""

from __future__ import annotations

from collections.abc import Container, Iterable

__all__ = ["plan"]


def plan(wanted: Iterable[str], have: Container[str]) -> list[str]:
    """Return the keys of `wanted` that are not in `have`, each once, in their first order.

    >>> plan(["b", "a", "b", "c"], {"c"})
    ['b', 'a']
    """
    return list(dict.fromkeys(key for key in wanted if key not in have))
