"""Who is trained together: what averages others, with these, which are trained once for all that average them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

__all__ = ["units_of"]

One = TypeVar("One", bound=Hashable)


def units_of(every: Iterable[One], members_of: Callable[[One], Sequence[One]]) -> list[list[One]]:
    """Return all of them in groups, in their order: who has a member is in the same group as it.

    >>> units_of("abcd", lambda one: "d" if one == "a" else "")
    [['a', 'd'], ['b'], ['c']]
    """
    root: dict[One, One] = {}

    def find(one: One) -> One:
        while (above := root.setdefault(one, one)) != one:
            one = above
        return one

    every = list(every)
    for one in every:
        for member in members_of(one):
            root[find(member)] = find(one)
    units: dict[One, list[One]] = defaultdict(list)
    for one in every:
        units[find(one)].append(one)
    return list(units.values())
