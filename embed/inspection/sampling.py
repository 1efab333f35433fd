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
        self._drawn: list[tuple[float, int, Item]] = []  # number, position in the stream, item

    def offer(self, n_items: int, item_at: Callable[[int], Item]) -> None:
        """Offer the next items of the stream; `item_at` is asked for those alone that may stay."""
        numbers = self._generator.random(n_items)  # (n_items,)
        chosen = np.flatnonzero(numbers < self._highest)
        if len(chosen) > self.size:
            chosen = np.sort(chosen[np.argpartition(numbers[chosen], self.size)[: self.size]])
        self._drawn += [(numbers[index], self.n_offered + index, item_at(index)) for index in chosen.tolist()]
        self.n_offered += n_items
        if len(self._drawn) > 2 * self.size:
            self._shrink()

    def items(self) -> list[tuple[int, Item]]:
        """Return the sample in the stream's order, each item with its position in the stream, from 0."""
        self._shrink()
        return sorted(((position, item) for _, position, item in self._drawn), key=lambda pair: pair[0])

    def _shrink(self) -> None:
        if len(self._drawn) > self.size:
            self._drawn.sort(key=lambda draw: draw[0])
            del self._drawn[self.size :]
            self._highest = self._drawn[-1][0]
