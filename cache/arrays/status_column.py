"""`StatusColumn`: one of a few words for each product, a byte each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import eq
from typing import overload

import numpy as np

from cache.arrays.large_arrays import empty, row_blocks

__all__ = ["StatusColumn", "StatusGatherer", "count_statuses"]


class StatusColumn(Sequence[str]):
    """N words. Equal to any sequence of the same strings.

    Shape:
        numbers: (N,) uint8, which of the words each is
    """

    def __init__(self, words: Sequence[str], numbers: np.ndarray) -> None:
        self.words, self.numbers = list(words), numbers

    @classmethod
    def of(cls, statuses: Sequence[str]) -> StatusColumn:
        """Return statuses as a column: the same object where they are one."""
        if isinstance(statuses, StatusColumn):
            return statuses
        gatherer = StatusGatherer(len(statuses))
        gatherer.extend(statuses)
        return gatherer.column()

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> StatusColumn: ...
    def __getitem__(self, index: int | slice) -> str | StatusColumn:
        if isinstance(index, slice):
            return StatusColumn(self.words, self.numbers[index])
        return self.words[self.numbers[index]]

    def __iter__(self) -> Iterator[str]:
        for rows in row_blocks(len(self)):
            yield from map(self.words.__getitem__, self.numbers[rows].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def replaced(self, is_replaced: np.ndarray, word: str) -> StatusColumn:
        """Return a new column with this word where `is_replaced` is true, (N,) bool."""
        words = [*self.words, *({word} - set(self.words))]
        numbers = empty(len(self), np.uint8)
        for rows in row_blocks(len(self)):
            numbers[rows] = np.where(is_replaced[rows], words.index(word), self.numbers[rows])
        return StatusColumn(words, numbers)


class StatusGatherer:
    """Gathers up to `max_rows` words, batch by batch; words are numbered in the order of their first mention."""

    def __init__(self, max_rows: int) -> None:
        self._words: dict[str, int] = {}
        self._numbers, self._n_rows = empty(max_rows, np.uint8), 0

    def extend(self, statuses: Sequence[str]) -> None:
        """Append words; there may be at most 256 different ones in all."""
        for status in dict.fromkeys(statuses):
            self._words.setdefault(status, len(self._words))
        numbers = np.fromiter(map(self._words.__getitem__, statuses), dtype=np.uint8, count=len(statuses))
        self._numbers[self._n_rows : self._n_rows + len(numbers)] = numbers
        self._n_rows += len(numbers)

    def column(self) -> StatusColumn:
        """Return all words that were appended."""
        return StatusColumn(list(self._words), self._numbers[: self._n_rows])


def count_statuses(blocks: Iterable[np.ndarray]) -> dict[str, int]:
    """Return how often each word is in some blocks, in the order of their first mention.

    Shape:
        blocks: (n,) bytes each
    """
    counts: Counter[str] = Counter()
    for statuses in blocks:
        if (statuses == statuses[0]).all():
            counts[statuses[0].decode()] += len(statuses)
        else:
            counts.update(statuses.astype(str).tolist())
    return dict(counts)
