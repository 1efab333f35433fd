"""Low-rank tensor fusion: every product of the modalities' features, at the price of a few matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.parts.dropout import Dropout
from heads.modules.parts.layers import BatchNorm, Linear
from heads.modules.parts.standardiser import zero_absent

__all__ = ["LowRank", "build"]


class LowRank(nn.Module):
    """Multiply the modalities' projections and sum them over the ranks (LMF, arXiv 1806.00064, equation 9).

    The bias of a projection stands for the paper's constant 1 beside each vector: it is all that an absent modality
    gives. The fused vector is batch-normalised, for a product of projections has no scale of its own.

    Shape:
        inputs: {modality: (*stack, B, D_modality)} float32, standardised
        present: {modality: (*stack, B)} bool
        output: (*stack, B, K) logits
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        n_classes: int,
        hidden_dim: int,
        rank: int,
        dropout: float,
        stack: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.rank = rank
        self.factors = nn.ModuleDict(
            {name: Linear(dims[name], rank * hidden_dim, stack=stack) for name in self.modalities}
        )
        with torch.no_grad():
            for factor in self.factors.values():
                # Begin near a sum of the modalities, not at a product of small numbers.
                factor.get_parameter("bias").add_(1.0)
        self.norm = BatchNorm(hidden_dim, stack=stack)
        self.dropout = Dropout(dropout, hidden_dim, stack=stack)
        self.classifier = Linear(hidden_dim, n_classes, stack=stack)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        zeroed = zero_absent({name: inputs[name] for name in self.modalities}, present)
        projections = [self.factors[name](vectors) for name, vectors in zeroed.items()]  # (*stack, B, R H) each
        fused = reduce(torch.mul, projections).unflatten(-1, (self.rank, -1)).sum(-2)  # (*stack, B, H)
        return self.classifier(self.dropout(torch.relu(self.norm(fused))))


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:
    """Return the head untrained (`heads.head_types`)."""
    return LowRank(description.dims, rank=description.rank, **description.sizes, stack=stack)
