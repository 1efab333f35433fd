"""Rows of a table as plain bytes of its file: HDF5 would read a whole chunk for each, and check it anew."""

from __future__ import annotations

import h5py
import numpy as np

from cache.errors import DamagedCacheError
from cache.format.source_file import SourceFile

__all__ = ["PlainRows"]


class PlainRows:
    """The rows of a dataset, read from where they stand in its file, and held against no checksum.

    Raises:
        DamagedCacheError: they do not stand row by row.
    """

    def __init__(self, dataset: h5py.Dataset, source: SourceFile) -> None:
        self._source = source
        self.dim, self.dtype = dataset.shape[1], dataset.dtype
        self.chunk_rows, chunk_dim = dataset.chunks or dataset.shape
        if dataset.chunks:
            chunks: list[h5py.h5d.StoreInfo] = []
            dataset.id.chunk_iter(chunks.append)  # all at once: `get_chunk_info` looks for each from the first one on
            self._chunk_starts = np.zeros(-(-len(dataset) // self.chunk_rows), dtype=np.int64)  # bytes
            for chunk in chunks:
                self._chunk_starts[chunk.chunk_offset[0] // self.chunk_rows] = chunk.byte_offset
        else:
            self._chunk_starts = np.array([dataset.id.get_offset() or 0])
        is_placed = 0 in dataset.shape or self._chunk_starts.all()  # 0 is the file's own start, where no chunk begins
        if chunk_dim != self.dim or not is_placed:
            raise DamagedCacheError(
                f"Expected {source.path} to have its vectors row by row, got pieces of rows, or some without a place "
                "of their own. Move it elsewhere to have its contents encoded again."
            )

    def take(self, rows: np.ndarray, source: SourceFile | None = None) -> np.ndarray:
        """Return some rows, and read no others; `source` is the same file, opened anew, where that is to be read.

        Shape:
            rows: (m,) of whole numbers, increasing
            output: (m, D)

        Raises:
            UnreadableError: the system cannot read them.
        """
        rows = rows.astype(np.int64, copy=False)  # as offsets in bytes are beyond smaller types
        chunks = rows // self.chunk_rows if self.chunk_rows else rows
        # Consecutive rows in one chunk are read at once.
        starts = np.append(0, np.flatnonzero((np.diff(rows) != 1) | (np.diff(chunks) != 0)) + 1)[: len(rows)]  # (runs,)
        counts = np.diff(np.append(starts, len(rows)))  # (runs,)
        row_bytes = self.dim * self.dtype.itemsize
        positions = self._chunk_starts[chunks[starts]] + rows[starts] % max(1, self.chunk_rows) * row_bytes
        source = source or self._source
        content = b"".join(
            source.bytes_at(position, n_bytes)
            for position, n_bytes in zip(positions.tolist(), (counts * row_bytes).tolist(), strict=True)
        )
        return np.frombuffer(content, dtype=self.dtype).reshape(len(rows), self.dim)
