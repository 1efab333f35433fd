"""What a graph takes: names, types and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BATCH", "LENGTH", "SHORTEST", "GraphInput"]

BATCH, LENGTH = "batch", "length"  # names of free sizes
SHORTEST = 2  # of a free length: torch compiles length 1 apart
TRACED = {BATCH: 3, LENGTH: 5}  # of the example: numbers that no other size has, so that torch confuses none


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph; the free lengths of one modality's inputs are equal, those of two modalities independent.

    >>> str(GraphInput("image", "image", torch.float32, (BATCH, 512)))
    'image float32 (batch, 512)'
    """

    name: str
    modality: str
    dtype: torch.dtype
    sizes: tuple[int | str, ...]
    longest: int | None = None  # the most that a free length may be

    @property
    def example(self) -> Tensor:
        """Zeros of the input's type; masks are true."""
        sizes = [size if isinstance(size, int) else TRACED[size] for size in self.sizes]
        return torch.full(sizes, self.dtype == torch.bool, dtype=self.dtype)

    def __str__(self) -> str:
        return f"{self.name} {str(self.dtype).removeprefix('torch.')} ({', '.join(map(str, self.sizes))})"
