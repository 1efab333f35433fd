"""Groups of what is trained together: an average with its members, which are trained once for all who average them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

__all__ = ["units_of"]

Item = TypeVar("Item", bound=Hashable)


def units_of(items: Iterable[Item], members_of: Callable[[Item], Sequence[Item]]) -> list[list[Item]]:
    """Return the items in groups, in their order: an item is in the same group as each of its members.

    >>> units_of("abcd", lambda letter: "d" if letter == "a" else "")
    [['a', 'd'], ['b'], ['c']]
    """
    root: dict[Item, Item] = {}

    def find(item: Item) -> Item:
        while (above := root.setdefault(item, item)) != item:
            item = above
        return item

    items = list(items)
    for item in items:
        for member in members_of(item):
            root[find(member)] = find(item)
    units: dict[Item, list[Item]] = defaultdict(list)
    for item in items:
        units[find(item)].append(item)
    return list(units.values())
