"""Vectors of a sealed cache by their rows."""

from __future__ import annotations

import numpy as np

from cache.format.writer import CHUNK_ROWS
from cache.sealed.store import Cache

__all__ = ["VectorRows"]

WHOLE_SHARE = 1 / 4  # of a chunk's rows: where as many are wanted, it is read whole


class VectorRows:
    """One encoder's vectors in an open cache, read by rows.

    A chunk is read whole, and held against its checksum, when a row of it is wanted for the first time. From then on
    its rows are read by themselves, unless a fourth of them is wanted at once. So rows in any order, however often,
    read each chunk once and for each row no more than four rows' bytes.
    """

    def __init__(self, cache: Cache, modality: str, encoder: str) -> None:
        self._cache, self._where = cache, (modality, encoder)
        self._rows = cache.plain_rows(modality, encoder)
        self._is_checked: set[int] = set()  # chunks

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
        alone = []
        for chunk, places in zip(chunks.tolist(), np.split(order, starts[1:]), strict=True):
            if chunk in self._is_checked and len(places) < WHOLE_SHARE * chunk_rows:
                alone.append(places)
                continue
            start = chunk * chunk_rows
            block = self._cache.vector_block(*self._where, start, start + chunk_rows)
            vectors[places] = block[rows[places] - start]
            self._is_checked.add(chunk)
        if alone:
            places = np.concatenate(alone)
            distinct, which = np.unique(rows[places], return_inverse=True)
            vectors[places] = self._rows.take(distinct)[which]
        return vectors
