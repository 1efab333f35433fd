"""Token states of products: kept by content in half precision, and made into batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cache import Cache
from cache.tokens import MOST_TOKENS
from heads.errors import HeadError

__all__ = ["ProductTokens", "TokenBatch", "load_tokens", "rows_within"]

MOST_POSITIONS = 2**16  # of tokens in the rows answered together, so that memory is bounded whatever their length


class TokenBatch(NamedTuple):
    """The tokens of B products, as many positions for each as the longest needs.

    Shape:
        values: (B, L, D) float32
        is_there: (B, L) bool; the other positions are padding
    """

    values: Tensor
    is_there: Tensor


@dataclass(frozen=True)
class ProductTokens:
    """The tokens of N products of one modality; products that share a content share its tokens.

    Shape:
        values: (T, D) float16, those of all contents
        starts, counts: (N,) int64, where a product's tokens begin and how many they are; 0 where it has none
    """

    values: Tensor
    starts: Tensor
    counts: Tensor

    @property
    def dim(self) -> int:
        """D."""
        return self.values.shape[1]

    def check(self) -> None:
        """Check tokens that come from elsewhere than a cache.

        Raises:
            HeadError: they are of another type or shape, more than a content may have, or beyond the values.
        """
        values, starts, counts = self.values, self.starts, self.counts
        if (
            (values.ndim, values.dtype) != (2, torch.float16)
            or any((tensor.ndim, tensor.dtype) != (1, torch.int64) for tensor in (starts, counts))
            or len(starts) != len(counts)
            or bool(((counts < 0) | (counts > MOST_TOKENS) | (starts < 0) | (starts > len(values) - counts)).any())
        ):
            shown = ", ".join(f"{name} {tensor.dtype} of {tuple(tensor.shape)}" for name, tensor in vars(self).items())
            raise HeadError(
                f"Expected tokens to be (T, D) float16, and each product's up to {MOST_TOKENS} of these T, but there "
                f"are {shown}, which do not fit. Train again, or restore the file."
            )

    def take(self, rows: Tensor) -> ProductTokens:
        """Return the tokens of some products; the values are shared, not copied."""
        return ProductTokens(self.values, self.starts[rows], self.counts[rows])

    def batch(self, length: int | None = None) -> TokenBatch:
        """Return the tokens of all these products, padded to `length` positions or to those of the longest."""
        length = int(self.counts.max()) if length is None else length
        positions = torch.arange(length)
        mask = positions < self.counts[:, None]  # (B, L)
        if not len(self.values):
            return TokenBatch(torch.zeros(*mask.shape, self.dim), mask)
        rows = torch.where(mask, self.starts[:, None] + positions, 0)  # (B, L)
        values = self.values.index_select(0, rows.flatten()).unflatten(0, rows.shape)  # (B, L, D)
        return TokenBatch(values.float(), mask)

    def padded(self, n_more: int) -> ProductTokens:
        """Return the tokens of these products and of `n_more` that have none."""
        starts, counts = (F.pad(tensor, (0, n_more)) for tensor in (self.starts, self.counts))
        return ProductTokens(self.values, starts, counts)

    def packed(self) -> ProductTokens:
        """Return the tokens of these products alone, one product after the other."""
        starts = torch.cumsum(self.counts, 0) - self.counts
        rows = torch.repeat_interleave(self.starts - starts, self.counts) + torch.arange(int(self.counts.sum()))
        return ProductTokens(self.values.index_select(0, rows), starts, self.counts)


def load_tokens(cache: Cache, modality: str, encoder: str) -> ProductTokens:
    """Return the tokens of a cache's products.

    Raises:
        MissingEntryError: the encoder has none.
    """
    tokens = cache.tokens(modality, encoder)
    rows = np.where(cache.present(modality, encoder), cache.rows(modality), -1)
    starts, counts = (np.append(array, 0)[rows] for array in (tokens.offsets[:-1], tokens.counts))
    return ProductTokens(torch.from_numpy(tokens.values), torch.from_numpy(starts), torch.from_numpy(counts))


def rows_within(n_positions: int, *, most_rows: int) -> int:
    """Return how many rows are answered together, each of so many token positions: at least one, at most `most_rows`.

    >>> [rows_within(n_positions, most_rows=256) for n_positions in (64, 512, 100_000)]
    [256, 128, 1]
    """
    return max(1, min(most_rows, MOST_POSITIONS // max(n_positions, 1)))
