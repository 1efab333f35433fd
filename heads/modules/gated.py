"""Gated fusion: each unit of the fused vector decides by itself which modality it listens to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.parts.dropout import Dropout
from heads.modules.parts.layers import BatchNorm, Linear
from heads.modules.parts.standardiser import zero_absent

__all__ = ["Gated", "build"]

CLOSED = -1e4  # a gate's score where the modality is absent; finite, so that a row without any has an answer


class Gated(nn.Module):
    """Mix the modalities' hidden vectors unit by unit, by gates that see all modalities (GMU, arXiv 1702.01992).

    The gates of a unit are a softmax over the modalities that the row has; over two it is the paper's sigmoid. The
    hidden vectors are batch-normalised before their tanh, so that inputs of any width begin unsaturated.

    Shape:
        inputs: {modality: (*stack, B, D_modality)} float32, standardised
        present: {modality: (*stack, B)} bool
        output: (*stack, B, K) logits
    """

    def __init__(
        self, dims: Mapping[str, int], *, n_classes: int, hidden_dim: int, dropout: float, stack: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.hidden = nn.ModuleDict(
            {name: Linear(dims[name], hidden_dim, bias=False, stack=stack) for name in self.modalities}
        )
        self.norms = nn.ModuleDict({name: BatchNorm(hidden_dim, stack=stack) for name in self.modalities})
        self.gates = Linear(sum(dims.values()), len(dims) * hidden_dim, stack=stack)
        self.dropout = Dropout(dropout, hidden_dim, stack=stack)
        self.classifier = Linear(hidden_dim, n_classes, stack=stack)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        zeroed = zero_absent({name: inputs[name] for name in self.modalities}, present)
        hidden = torch.stack(
            [torch.tanh(self.norms[name](self.hidden[name](vectors))) for name, vectors in zeroed.items()], dim=-2
        )  # (*stack, B, M, H)
        scores = self.gates(torch.cat(list(zeroed.values()), dim=-1))
        scores = scores.unflatten(-1, (len(zeroed), -1))  # (*stack, B, M, H)
        mask = torch.stack([present[name] for name in self.modalities], dim=-1)[..., None]  # (*stack, B, M, 1)
        gates = torch.softmax(scores + CLOSED * (~mask).to(scores.dtype), dim=-2)
        return self.classifier(self.dropout((gates * hidden).sum(-2)))


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:
    """Return the head untrained (`heads.head_types`)."""
    return Gated(description.dims, **description.sizes, stack=stack)
