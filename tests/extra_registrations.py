"""A head and a score that are registered as built-in ones are: a file, and a line in its registry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from heads.head_types import HeadType
from heads.metrics.answers import Answers
from heads.metrics.registry import Metric
from heads.modules.description import HeadDescription
from heads.modules.parts.layers import Linear
from heads.modules.parts.standardiser import zero_absent


class Sum(nn.Module):
    """Add the logits of a linear map of each modality.

    Shape:
        inputs: {modality: (*stack, B, D_modality)} float32, standardised
        present: {modality: (*stack, B)} bool
        output: (*stack, B, K) logits
    """

    def __init__(self, dims: Mapping[str, int], *, n_classes: int, stack: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: Linear(dim, n_classes, stack=stack) for name, dim in sorted(dims.items())})

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        zeroed = zero_absent({name: inputs[name] for name in self.layers}, present)
        return torch.stack([layer(zeroed[name]) for name, layer in self.layers.items()]).sum(0)


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:
    """Return the head untrained."""
    return Sum(description.dims, n_classes=description.n_classes, stack=stack)


def top_two(answers: Answers, _targets: np.ndarray, _n_classes: int) -> float:
    """Return the share of rows whose class is among the two most probable."""
    return float((answers.ranks < 2).mean())


HEAD = HeadType("sum", "extra_registrations", needs_two=True)
SCORE = Metric("top 2", top_two)
