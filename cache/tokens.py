"""Token states: several vectors for each content, as many as it has words or cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cache.errors import CacheError

__all__ = ["MOST_TOKENS", "Tokens", "is_out_of_order", "offsets_of", "row_ranges"]

MOST_TOKENS = 65_536  # of one content: a batch pads all of its rows to the longest


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of n contents, one after the other; content i has the rows ``offsets[i]:offsets[i + 1]``.

    Shape:
        values: (T, D) float16
        offsets: (n + 1,) int64, from 0 to T

    >>> tokens = Tokens.of([np.zeros((2, 3), np.float16), np.ones((1, 3), np.float16)])
    >>> len(tokens), tokens[1].tolist(), tokens.counts.tolist()
    (2, [[1.0, 1.0, 1.0]], [2, 1])

    Raises:
        CacheError: the arrays are of another type or shape, or the offsets are out of order.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.float16:
            raise CacheError(
                f"Expected tokens to be one float16 row each, got {self.values.dtype} of shape {self.values.shape}. "
                "Convert them with astype(np.float16)."
            )
        offsets = self.offsets
        if offsets.ndim != 1 or offsets.dtype != np.int64 or not len(offsets) or is_out_of_order(offsets):
            raise CacheError(f"Expected the offsets of tokens to be int64 in order, got {offsets[:5]!r}….")
        if offsets[0] != 0 or offsets[-1] != len(self.values):
            raise CacheError(
                f"Expected the offsets of tokens to go from 0 to {len(self.values)}, but they go from {offsets[0]} "
                f"to {offsets[-1]}."
            )

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray]) -> Tokens:
        """Return the tokens of n contents, (T_i, D) float16 each.

        Raises:
            CacheError: an array is of another type, or of another D than the first.
        """
        if not arrays:
            return cls(np.zeros((0, 0), dtype=np.float16), np.zeros(1, dtype=np.int64))
        dim = arrays[0].shape[-1] if arrays[0].ndim else 0
        for array in arrays:
            if array.ndim != 2 or array.shape[1] != dim or array.dtype != np.float16:
                raise CacheError(
                    f"Expected each content's tokens to be float16 of shape (any, {dim}), but some are "
                    f"{array.dtype} of shape {array.shape}."
                )
        return cls(np.concatenate(arrays), offsets_of([len(array) for array in arrays]))

    @classmethod
    def concatenated(cls, several: Sequence[Tokens]) -> Tokens:
        """Return the tokens of all contents of `several`, in order.

        Raises:
            CacheError: they are not all of the same D.
        """
        return cls.of([tokens[row] for tokens in several for row in range(len(tokens))])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, content: int) -> np.ndarray:
        """Return one content's tokens, (T_i, D) float16."""
        content = range(len(self))[content]  # negative indices count from the end; those outside are an IndexError
        return self.values[self.offsets[content] : self.offsets[content + 1]]

    def take(self, rows: np.ndarray) -> Tokens:
        """Return the tokens of some contents, in the order of `rows`.

        Shape:
            rows: (m,) int64
        """
        counts = self.counts[rows]
        return Tokens(self.values[row_ranges(self.offsets[:-1][rows], counts)], offsets_of(counts))

    @property
    def n_dim(self) -> int:
        """D, the dimension of a token."""
        return self.values.shape[1]

    @property
    def counts(self) -> np.ndarray:
        """How many tokens each content has, (n,) int64."""
        return np.diff(self.offsets)


def is_out_of_order(offsets: np.ndarray) -> bool:
    """Return whether an offset is less than the one before; a difference, which int64 may not hold, is not taken.

    Shape:
        offsets: (n + 1,) int64
    """
    return bool((offsets[1:] < offsets[:-1]).any())


def row_ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return ``starts[i], starts[i] + 1, …`` of each of m ranges, one range after the other.

    >>> row_ranges(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]

    Shape:
        starts, counts: (m,) int64
        output: (sum of counts,) int64
    """
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) + np.repeat(starts - (ends - counts), counts)


def offsets_of(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the offsets of n consecutive ranges: where each begins, and where the last ends.

    >>> offsets_of([2, 3]).tolist()
    [0, 2, 5]

    Shape:
        counts: (n,) int64
        output: (n + 1,) int64
    """
    return np.append(0, np.cumsum(counts, dtype=np.int64))
