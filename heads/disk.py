"""Vectors that stay on the disk: read by rows, when they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cache import Cache

__all__ = ["DiskMatrix"]

READ_ROWS = 1024  # contents that are read at once: a chunk of the file


class DiskMatrix:
    """The vectors of N products of one modality; indexing with rows reads them, zeros where a product has none.

    The sealed file stays open, so that a later seal changes nothing here.

    Shape:
        shape: (N, D)
    """

    def __init__(self, path: str | Path, modality: str, encoder: str) -> None:
        self._cache = Cache(path)
        self._modality, self._encoder = modality, encoder
        present = self._cache.present(modality, encoder)
        self._contents = np.where(present, self._cache.rows(modality), -1)  # (N,)
        self.shape = (len(present), self._cache.dimension(modality, encoder))

    def __getitem__(self, rows: Tensor) -> Tensor:
        contents = self._contents[rows.numpy()]  # (n,)
        found = np.zeros((len(contents), self.shape[1]), dtype=np.float32)
        order = np.argsort(contents, kind="stable")[int((contents < 0).sum()) :]
        blocks, starts = np.unique(contents[order] // READ_ROWS, return_index=True)
        for block, places in zip(blocks.tolist(), np.split(order, starts[1:]), strict=True):
            first = block * READ_ROWS
            vectors = self._cache.vector_block(self._modality, self._encoder, first, first + READ_ROWS)
            found[places] = vectors[contents[places] - first]
        return torch.from_numpy(found)
