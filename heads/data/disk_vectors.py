"""Vectors that stay on the disk: rows are read when they are indexed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cache import Cache
from cache.sealed.vector_rows import VectorRows
from heads.data.encoder_sets import present
from heads.errors import HeadError

__all__ = ["DiskMatrix"]


class DiskMatrix:
    """The vectors of N products of one modality, of one encoder or several side by side; indexing with rows reads them.

    They are zeros where a product has none.

    The sealed file stays open, so that a later seal changes nothing here. One that came just before, after the caller
    had read which products there are, is an error.

    Raises:
        HeadError: the cache's content is not `content_sha256` any more.

    Shape:
        shape: (N, D)
    """

    def __init__(self, path: str | Path, *, modality: str, encoders: Sequence[str], content_sha256: str) -> None:
        self._cache = Cache(path)
        if self._cache.content_sha256 != content_sha256:
            self._cache.close()
            raise HeadError(
                f"Expected {path} to stay as it is while it is read, but it was written anew meanwhile. Start again."
            )
        self._vectors = [VectorRows(self._cache, modality, encoder) for encoder in encoders]
        mask = present(self._cache, modality, encoders)
        self._contents = np.where(mask, self._cache.rows(modality), -1)  # (N,)
        self.shape = (len(mask), sum(vectors.dim for vectors in self._vectors))

    def __getitem__(self, rows: Tensor) -> Tensor:
        contents = self._contents[rows.numpy()]  # (n,)
        vectors = np.zeros((len(contents), self.shape[1]), dtype=np.float32)
        present_contents = contents[contents >= 0]
        end = 0
        for vector_rows in self._vectors:
            start, end = end, end + vector_rows.dim
            vectors[contents >= 0, start:end] = vector_rows.take(present_contents)
        return torch.from_numpy(vectors)
