"""Vectors of a sealed cache by their rows."""

from __future__ import annotations

import numpy as np

from cache.format.writer import CHUNK_ROWS
from cache.sealed.cache import Cache

__all__ = ["VectorRows"]

WHOLE_SHARE = 1 / 4  # of a chunk's rows: where as many are to be read, the chunk is read whole


class VectorRows:
    """One encoder's vectors in an open cache, read by rows.

    A chunk is read whole, and held against its checksum, when one of its rows is read for the first time. From then on
    its rows are read by themselves, unless a fourth of them is to be read at once. So rows that are read in any order,
    and however often, cost each chunk once, and no more than the bytes of four rows each.
    """

    def __init__(self, cache: Cache, modality: str, encoder: str) -> None:
        self._cache, self._modality, self._encoder = cache, modality, encoder
        self._rows = cache.plain_rows(modality, encoder)
        self._checked_chunks: set[int] = set()  # by number

    @property
    def dim(self) -> int:
        """D."""
        return self._rows.dim

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors in some rows.

        Shape:
            rows: (n,) int64, in any order
            output: (n, D) float32

        Raises:
            DamagedCacheError: a chunk does not match its checksum.
            UnreadableError: the system cannot read it.
        """
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        if not len(rows):
            return vectors
        order = np.argsort(rows, kind="stable")
        chunk_rows = min(self._rows.chunk_rows, CHUNK_ROWS)
        chunks, starts = np.unique(rows[order] // chunk_rows, return_index=True)
        single_indices = []  # into `rows`: those that are read by themselves
        for chunk, indices in zip(chunks.tolist(), np.split(order, starts[1:]), strict=True):
            if chunk in self._checked_chunks and len(indices) < WHOLE_SHARE * chunk_rows:
                single_indices.append(indices)
                continue
            start = chunk * chunk_rows
            block = self._cache.vector_block(self._modality, self._encoder, start, start + chunk_rows)
            vectors[indices] = block[rows[indices] - start]
            self._checked_chunks.add(chunk)
        if single_indices:
            indices = np.concatenate(single_indices)
            distinct_rows, inverse = np.unique(rows[indices], return_inverse=True)
            vectors[indices] = self._rows.take(distinct_rows)[inverse]
        return vectors
