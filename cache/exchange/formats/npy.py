"""NumPy's .npy: an array of N vectors, of which no more than a block is read at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cache.errors import CacheError
from cache.exchange.imported_vectors import ImportedVectors
from cache.exchange.product_table import BLOCK_BYTES
from cache.system.reading import reading

__all__ = ["opened"]


def opened(path: Path, column: str | None) -> ImportedVectors:
    """Return the vectors of an array of floats, (N, D).

    Raises:
        CacheError: the file is not there, is no .npy file, or holds something else; nothing in it is ever run.
        UnreadableError: the system cannot read it.
    """
    if column is not None:
        raise CacheError(f"--vector-column: expected none, since {path} is an array without columns. Leave it out.")
    try:
        with reading(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise CacheError(f"Expected vectors in {path}, but there is no such file. Name another.") from error
    except (ValueError, EOFError) as error:
        raise CacheError(f"Expected {path} to be a whole .npy file of numbers, got another: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        content = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise CacheError(
            f"Expected {path} to have a row of floats for each product, got {content}. Save it "
            "as float32 of shape (N, D)."
        )
    n_rows = max(1, BLOCK_BYTES // max(1, array.shape[1] * array.itemsize))

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(array), n_rows):
            yield np.asarray(array[start : start + n_rows])

    return ImportedVectors(path, len(array), array.shape[1], blocks)
