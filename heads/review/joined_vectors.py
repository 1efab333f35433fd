"""The vectors of all modalities side by side, on one scale, so that each counts alike in distances and linear heads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cache import Cache
from cache.system.memory_budget import check_memory

__all__ = ["centre_rows", "join_vectors"]


def join_vectors(
    cache: Cache, encoders: Mapping[str, str], *, memory: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return each product's vectors side by side, centred and of length 1 in each modality, and which have any vector.

    Shape:
        output: (N, D) float32, D the sum of the modalities', zeros where one is absent; (N,) bool

    Raises:
        CacheError: they take more than `memory`, as of `Cache.matrix`.
    """
    total_dim = sum(cache.dimension(modality, name) for modality, name in encoders.items())
    check_memory(len(cache), total_dim, memory=memory, what=f"the vectors of {', '.join(encoders)}")
    joined = np.empty((len(cache), total_dim), dtype=np.float32)
    has_vector = np.zeros(len(cache), dtype=bool)
    start = 0
    for modality, name in sorted(encoders.items()):
        block = joined[:, start : start + cache.dimension(modality, name)]
        block[:] = cache.matrix(modality, name, memory=memory)
        is_present = cache.present(modality, name)
        centre_rows(block, is_present)
        start += block.shape[1]
        has_vector |= is_present
    return joined, has_vector


def centre_rows(matrix: np.ndarray, is_present: np.ndarray) -> None:
    """Subtract the mean of the rows that are present, scale them to length 1, and set the others to zero, in place.

    >>> rows = np.array([[2.0, 0.0], [0.0, 0.0], [9.0, 9.0]])
    >>> centre_rows(rows, np.array([True, True, False]))
    >>> rows
    array([[ 1.,  0.],
           [-1.,  0.],
           [ 0.,  0.]])

    Shape:
        matrix: (N, D)
        is_present: (N,) bool
    """
    if is_present.any():
        matrix -= matrix.mean(axis=0, where=is_present[:, None], dtype=np.float64).astype(matrix.dtype)
    matrix[~is_present] = 0
    lengths = np.sqrt(np.einsum("nd,nd->n", matrix, matrix))[:, None]
    matrix /= np.where(lengths > 0, lengths, 1)
