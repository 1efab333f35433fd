"""The vectors of all modalities side by side, on one scale, so that distances and a linear head look at each alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cache import Cache
from cache.memory_budget import check_memory

__all__ = ["join_vectors", "unit_rows"]


def join_vectors(
    cache: Cache, encoders: Mapping[str, str], *, memory: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return each product's vectors side by side, those of each modality centred and of length 1, and who has any.

    Shape:
        output: (N, D) float32, D the sum of the modalities', zeros where one is absent; (N,) bool

    Raises:
        CacheError: they take more than `memory`, as of `Cache.matrix`.
    """
    total_dim = sum(cache.dimension(modality, name) for modality, name in encoders.items())
    check_memory(len(cache), total_dim, memory=memory, what=f"the vectors of {', '.join(encoders)}")
    joined = np.empty((len(cache), total_dim), dtype=np.float32)
    has_any = np.zeros(len(cache), dtype=bool)
    start = 0
    for modality, name in sorted(encoders.items()):
        matrix, has = cache.matrix(modality, name, memory=memory), cache.present(modality, name)
        joined[:, start : start + matrix.shape[1]] = unit_rows(matrix, has)
        start += matrix.shape[1]
        has_any |= has
    return joined, has_any


def unit_rows(matrix: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Return the rows less their mean and at length 1, zeros where there is none.

    >>> unit_rows(np.array([[2.0, 0.0], [0.0, 0.0], [9.0, 9.0]]), np.array([True, True, False]))
    array([[ 1.,  0.],
           [-1.,  0.],
           [ 0.,  0.]])

    Shape:
        matrix, output: (N, D)
        has: (N,) bool
    """
    if not has.any():
        return np.zeros_like(matrix)
    centred = np.where(has[:, None], matrix - matrix[has].mean(axis=0), 0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(lengths > 0, lengths, 1)
