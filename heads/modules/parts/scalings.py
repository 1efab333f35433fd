"""How a modality's vectors are brought to one scale before a head sees them, by statistics of the training rows.

A new scaling is a class with the three functions of `Scaling`, and an entry of `SCALINGS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from heads.settings import SCALINGS as NAMES

__all__ = ["SCALINGS", "Blocks", "Scaling", "of_one_length"]

MOST_COMPONENTS = 128  # that whitening keeps: of fewer training rows, as many as these span
LEAST_VARIANCE = 1e-6  # of the largest component's, so that rounding is not blown up

Blocks = Callable[[], Iterable[tuple[Tensor, Tensor | None]]]  # training rows (n, D), and how often each counts (n,)


class Scaling(Protocol):
    """What is done to vectors whose means and standard deviations are known.

    Shape:
        vectors, output: (..., D) float32
        mean, scale: (D,), the latter not 0
    """

    def empty(self, dim: int) -> dict[str, Tensor]:
        """Return the extra statistics of training rows, by name, as they are before there are any rows."""

    def fit(self, mean: Tensor, blocks: Blocks) -> dict[str, Tensor]:
        """Return the extra statistics of training rows, whose `blocks` may be read more than once."""

    def apply(self, vectors: Tensor, mean: Tensor, scale: Tensor, extra: Mapping[str, Tensor]) -> Tensor:
        """Return the vectors scaled, each by itself."""


class _Plain:
    """Keeps nothing but means and standard deviations."""

    def empty(self, dim: int) -> dict[str, Tensor]:  # noqa: ARG002 - others need it
        return {}

    def fit(self, mean: Tensor, blocks: Blocks) -> dict[str, Tensor]:  # noqa: ARG002 - others need it
        return {}


class ZScore(_Plain):
    """Subtract each dimension's mean and divide by its standard deviation."""

    def apply(self, vectors: Tensor, mean: Tensor, scale: Tensor, extra: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        return (vectors - mean) / scale


class Raw(_Plain):
    """Leave vectors as they are in the cache."""

    def apply(self, vectors: Tensor, mean: Tensor, scale: Tensor, extra: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        return vectors


class OneLength(_Plain):
    """Subtract the mean and bring each row to the length sqrt(D): what is left is a direction."""

    def apply(self, vectors: Tensor, mean: Tensor, scale: Tensor, extra: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        return of_one_length(vectors - mean)


class Whitened:
    """Project on the first principal components, bring each to one variance, and rotate back.

    Rotated back a vector has as many dimensions as before, so that heads have their sizes, and entries of order one. To
    a linear head with a squared penalty, which no rotation changes, it is the same as the components themselves.
    """

    def empty(self, dim: int) -> dict[str, Tensor]:
        return {"components": torch.zeros(min(dim, MOST_COMPONENTS), dim)}

    def fit(self, mean: Tensor, blocks: Blocks) -> dict[str, Tensor]:
        dim = len(mean)
        total, n_counted = mean.new_zeros(dim, dim, dtype=torch.float64), 0.0
        for rows, counts in blocks():
            centred = (rows - mean).double()
            total += centred.T @ (centred if counts is None else centred * counts[:, None])
            n_counted += len(rows) if counts is None else float(counts.sum())
        variances, directions = torch.linalg.eigh(total / max(n_counted, 1.0))  # ascending
        variances, directions = variances.flip(0)[:MOST_COMPONENTS], directions.T.flip(0)[:MOST_COMPONENTS]
        is_kept = variances > LEAST_VARIANCE * variances[0].clamp_min(0)
        size = math.sqrt(dim / max(1, int(is_kept.sum())))  # of entries, whose mean square is 1 with it
        factors = torch.where(is_kept, size / variances.clamp_min(1e-300).sqrt(), 0.0).sqrt()
        return {"components": factors[:, None] * directions}  # one half of each factor on the way there, one back

    def apply(self, vectors: Tensor, mean: Tensor, scale: Tensor, extra: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        return (vectors - mean) @ extra["components"].T @ extra["components"]


def of_one_length(vectors: Tensor) -> Tensor:
    """Return the rows brought to the length sqrt(D), so that entries stay of order one; zeros stay, (..., D)."""
    return F.normalize(vectors, dim=-1) * math.sqrt(vectors.shape[-1])


SCALINGS: Mapping[str, Scaling] = dict(zip(NAMES, (ZScore(), Raw(), OneLength(), Whitened()), strict=True))
