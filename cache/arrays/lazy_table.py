"""`LazyTable`: a table that is made block by block each time it is read, and never stands in memory whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from cache.arrays.large_arrays import row_blocks

__all__ = ["LazyTable"]


class LazyTable:
    """N rows of one type.

    Args:
        n_rows: N.
        make: returns the values of some rows, (n,).
    """

    def __init__(self, n_rows: int, dtype: np.typing.DTypeLike, make: Callable[[slice], np.ndarray]) -> None:
        self.shape, self.dtype, self._make = (n_rows,), np.dtype(dtype), make

    @property
    def nbytes(self) -> int:
        """How many bytes all rows take."""
        return self.shape[0] * self.dtype.itemsize

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the values by blocks."""
        for rows in row_blocks(*self.shape):
            yield np.asarray(self._make(rows), dtype=self.dtype)
