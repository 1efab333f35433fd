"""Dropout whose masks follow from each head's own generator, so that a head in a stack drops what it drops alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.device import to_device

__all__ = ["Dropout"]

LEVELS = 256  # a mask is drawn as bytes: rates are honoured to 1/256
TABLE_BATCHES = 3  # how many batches' rows of masks are drawn for an epoch


class Dropout(nn.Module):
    """Drop units of the last dimension, at a rate of its own for each head of a stack (arXiv 1207.0580).

    A training that must give each head the same numbers alone as in a stack calls `redraw` before each epoch and
    `advance` before each step: a batch then takes its masks from a table of rows, at a position that is the same for
    all heads. A row of the data occurs once an epoch and the table is new in each, so its masks are independent.
    Without a table it is torch's dropout.

    Shape:
        inputs, output: (*stack, B, dim)
    """

    def __init__(self, rate: float, dim: int, *, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.rate = rate
        self.dim = dim
        self.stack = stack
        self._masks: Tensor | None = None  # (*stack, R, dim), 0 or 1 / (1 - rate)
        self._position = 0.0

    def redraw(
        self, generators: Sequence[torch.Generator], rates: Sequence[float], *, batch_size: int, like: Tensor
    ) -> None:
        """Draw the masks of an epoch for each head of the stack, in the type and on the device of `like`.

        They are drawn on the CPU, whose generators are the same everywhere, and go to the device as bytes.
        """
        n_rows = batch_size * TABLE_BATCHES
        n_dropped = [min(round(rate * LEVELS), LEVELS - 1) for rate in rates]  # of the levels: some units stay
        levels = torch.stack([self._levels(generator, n_rows) for generator in generators])
        bounds = torch.tensor(n_dropped, dtype=torch.uint8).reshape(-1, 1, 1)
        scales = torch.tensor([LEVELS / (LEVELS - n) for n in n_dropped], dtype=like.dtype).reshape(-1, 1, 1)
        is_kept = to_device(levels, like.device) >= to_device(bounds, like.device)
        masks = is_kept.to(like.dtype).mul_(to_device(scales, like.device))
        self._masks = masks.reshape(*self.stack, n_rows, self.dim)

    def advance(self, position: float) -> None:
        """Let the next batch take its masks from a position in the table, from 0 (its start) to 1."""
        self._position = position

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        if self._masks is None:
            return F.dropout(inputs, self.rate)
        n_rows = inputs.shape[-2]
        first_row = int(self._position * (self._masks.shape[-2] - n_rows))
        return inputs * self._masks.narrow(-2, first_row, n_rows)

    def _levels(self, generator: torch.Generator, n_rows: int) -> Tensor:
        """Return numbers of one head, (n_rows, dim) uint8."""
        words = torch.empty(-(-n_rows * self.dim // 8), dtype=torch.int64)
        words.random_(-(2**63), None, generator=generator)  # eight bytes, so eight units, a number
        return words.view(torch.uint8)[: n_rows * self.dim].reshape(n_rows, self.dim)
