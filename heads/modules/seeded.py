"""Heads whose initial weights follow from a seed, or that have none yet."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.one_by_one import drawing_apart
from heads.modules.registry import build

__all__ = ["build_empty", "build_seeded", "head_alone"]


def build_seeded(description: HeadDescription, seed: int) -> nn.Module:
    """Return a head whose initial weights follow from the seed alone; the caller's random state stays."""
    with drawing_apart():
        torch.default_generator.manual_seed(seed)  # and no other device's
        return build(description)


def head_alone(description: HeadDescription, state: Mapping[str, Tensor]) -> nn.Module:
    """Return one head in evaluation mode with the state given."""
    module = build_empty(description)
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)


def build_empty(description: HeadDescription, *, stack: tuple[int, ...] = ()) -> nn.Module:
    """Return a head whose tensors take no memory yet, as far as its class allows that."""
    if description.plugin is not None:  # which draws from torch's own generator
        with drawing_apart():
            return build(description)
    with torch.device("meta"):
        return build(description, stack=stack)
