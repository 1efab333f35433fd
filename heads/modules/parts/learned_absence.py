"""A learned vector in the place of an absent modality, for any head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from heads.modules.parts.standardiser import zero_absent

__all__ = ["LearnedAbsent"]


class LearnedAbsent(nn.Module):
    """Give a head a learned vector wherever a modality is absent, instead of zeros (which are the mean).

    The head is told that the modality is there, so that its gates and its attention may listen to what absence means.

    Shape:
        inputs: {modality: (*stack, B, D_modality)} float32, standardised
        present: {modality: (*stack, B)} bool
        output: (*stack, B, K), the head's
    """

    def __init__(self, head: nn.Module, dims: Mapping[str, int], *, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.head = head
        self.vectors = nn.ParameterDict({name: nn.Parameter(torch.zeros(*stack, dims[name])) for name in sorted(dims)})

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor], *tokens: Any) -> Tensor:
        zeroed = zero_absent({name: inputs[name] for name in self.vectors}, present)
        filled = {}
        for name, vectors in zeroed.items():
            is_absent = (~present[name])[..., None].to(vectors.dtype)  # (*stack, B, 1)
            filled[name] = vectors + is_absent * self.vectors[name].to(vectors.dtype)[..., None, :]
        return self.head(filled, {name: torch.ones_like(present[name]) for name in filled}, *tokens)
