"""Vectors that stay on the disk: read by rows, when they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cache import Cache
from cache.vector_rows import VectorRows
from heads.errors import HeadError

__all__ = ["DiskMatrix"]


class DiskMatrix:
    """The vectors of N products of one modality; indexing with rows reads them, zeros where a product has none.

    The sealed file stays open, so that a later seal changes nothing here. One that came just before, after the caller
    had read which products there are, is an error.

    Raises:
        HeadError: the cache's content is not `content_sha256` any more.

    Shape:
        shape: (N, D)
    """

    def __init__(self, path: str | Path, *, modality: str, encoder: str, content_sha256: str) -> None:
        self._cache = Cache(path)
        if self._cache.content_sha256 != content_sha256:
            self._cache.close()
            raise HeadError(
                f"Expected {path} to stay as it is while it is read, but it was written anew meanwhile. Start again."
            )
        self._vectors = VectorRows(self._cache, modality, encoder)
        present = self._cache.present(modality, encoder)
        self._contents = np.where(present, self._cache.rows(modality), -1)  # (N,)
        self.shape = (len(present), self._vectors.dim)

    def __getitem__(self, rows: Tensor) -> Tensor:
        contents = self._contents[rows.numpy()]  # (n,)
        vectors = np.zeros((len(contents), self.shape[1]), dtype=np.float32)
        vectors[contents >= 0] = self._vectors.take(contents[contents >= 0])
        return torch.from_numpy(vectors)
