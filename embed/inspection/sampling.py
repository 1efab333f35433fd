"""Samples of streams that are too long to be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

__all__ = ["Sample"]

Item = TypeVar("Item")


class Sample(Generic[Item]):
    """A uniform random sample of a stream: each item draws a number, and those with the smallest stay.

    Of a stream that is no longer than the sample everything stays. At most three times `size` items are kept at once.

    >>> sample = Sample(5, np.random.default_rng(0))
    >>> sample.offer(3, "abc".__getitem__)
    >>> sample.items()
    [(0, 'a'), (1, 'b'), (2, 'c')]
    """

    def __init__(self, size: int, generator: np.random.Generator) -> None:
        self.size = size
        self.n_offered = 0
        self._generator = generator
        self._highest = 1.0  # what draws more than this stays outside
        self._kept: list[tuple[float, int, Item]] = []

    def offer(self, n_items: int, item_at: Callable[[int], Item]) -> None:
        """Offer the next items of the stream; `item_at` is asked for those alone that may stay."""
        drawn = self._generator.random(n_items)  # (n_items,)
        chosen = np.flatnonzero(drawn < self._highest)
        if len(chosen) > self.size:
            chosen = np.sort(chosen[np.argpartition(drawn[chosen], self.size)[: self.size]])
        self._kept += [(drawn[place], self.n_offered + place, item_at(place)) for place in chosen.tolist()]
        self.n_offered += n_items
        if len(self._kept) > 2 * self.size:
            self._shrink()

    def items(self) -> list[tuple[int, Item]]:
        """Return the sample in the stream's order, each item with its place in the stream."""
        self._shrink()
        return sorted(((place, item) for _, place, item in self._kept), key=lambda pair: pair[0])

    def _shrink(self) -> None:
        if len(self._kept) > self.size:
            self._kept.sort(key=lambda kept: kept[0])
            del self._kept[self.size :]
            self._highest = self._kept[-1][0]
