"""Vectors of a sealed cache by their rows."""

from __future__ import annotations

import numpy as np

from cache.store import Cache
from cache.writer import CHUNK_ROWS

__all__ = ["read_rows"]


def read_rows(cache: Cache, modality: str, encoder: str, rows: np.ndarray) -> np.ndarray:
    """Return the vectors in some rows; of the file, no chunks are read but those that hold them.

    Shape:
        rows: (n,) int64, in any order
        output: (n, D) float32
    """
    vectors = np.empty((len(rows), cache.dimension(modality, encoder)), dtype=np.float32)
    if not len(rows):
        return vectors
    order = np.argsort(rows, kind="stable")
    chunks, starts = np.unique(rows[order] // CHUNK_ROWS, return_index=True)
    for chunk, places in zip(chunks.tolist(), np.split(order, starts[1:]), strict=True):
        start = chunk * CHUNK_ROWS
        vectors[places] = cache.vector_block(modality, encoder, start, start + CHUNK_ROWS)[rows[places] - start]
    return vectors
