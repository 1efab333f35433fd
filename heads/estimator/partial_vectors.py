"""Vectors that are NaN in part: whether a row counts as having them, and what fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from heads.data.vectors import Vectors

__all__ = ["column_means", "count_partial", "fill_partial", "has_vector"]


def has_vector(columns: np.ndarray) -> np.ndarray:
    """Return the rows that have a vector: at least half of its numbers, (N,) bool.

    A tool that shuffles one column among the rows does not change that for vectors of three numbers or more.

    Shape:
        columns: (N, D) of one modality

    >>> has_vector(np.array([[1, 2, np.nan], [1, np.nan, np.nan]])).tolist()
    [True, False]
    """
    return 2 * np.isnan(columns).sum(axis=1) <= columns.shape[1]


def count_partial(columns: np.ndarray) -> tuple[int, int]:
    """Return how many rows have a vector with NaN in it, and how many have some numbers and yet no vector."""
    n_missing = np.isnan(columns).sum(axis=1)
    is_partial, is_present = (n_missing > 0) & (n_missing < columns.shape[1]), has_vector(columns)
    return int((is_partial & is_present).sum()), int((is_partial & ~is_present).sum())


def column_means(vectors: Vectors, rows: np.ndarray, weights: np.ndarray | None) -> dict[str, Tensor]:
    """Return each column's mean over the numbers that some rows have in it, {modality: (D,)}; 0 if they have none.

    Shape:
        rows: (n,) int64
        weights: (N,) float64, how often each row counts; None: once
    """
    means = {}
    for name, matrix in vectors.inputs.items():
        present_rows = rows[vectors.present[name].numpy()[rows]]
        values = matrix[torch.from_numpy(present_rows)].double()  # (n, D)
        is_known = ~values.isnan()
        counts = is_known if weights is None else is_known * torch.from_numpy(weights[present_rows])[:, None]
        totals = counts.double().sum(0)
        means[name] = (values.nan_to_num(0.0) * counts).sum(0) / totals.where(totals > 0, 1)
    return means


def fill_partial(vectors: Vectors, means: Mapping[str, Tensor]) -> Vectors:
    """Return the vectors with a column's mean where they are NaN; 0 in modalities that have no means."""
    filled = dict(vectors.inputs)
    for name, matrix in vectors.inputs.items():
        if (is_nan := matrix.isnan()).any():
            filled[name] = torch.where(is_nan, means[name].to(matrix) if name in means else 0.0, matrix)
    return replace(vectors, inputs=filled)
