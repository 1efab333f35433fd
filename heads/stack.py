"""J heads of one shape whose tensors stand in one, to be trained together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from heads.build import HeadDescription, build
from heads.dropout import Dropout

__all__ = ["Stack", "build_seeded", "head_alone"]

_seeding = threading.Lock()  # torch's own generator is one for all threads


def build_seeded(description: HeadDescription, seed: int) -> nn.Module:
    """Return a head whose initial weights follow from the seed alone; the caller's random state stays."""
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(description)


def head_alone(description: HeadDescription, state: Mapping[str, Tensor]) -> nn.Module:
    """Return one head in evaluation mode with the state given."""
    with torch.device("meta"):
        module = build(description)
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)


class Stack:
    """The tensors of J heads, each with a leading dimension of J, and the module that computes them at once."""

    def __init__(self, descriptions: Sequence[HeadDescription], seeds: Sequence[int], *, device: torch.device) -> None:
        self._description = descriptions[0]
        states = [
            build_seeded(description, seed).state_dict() for description, seed in zip(descriptions, seeds, strict=True)
        ]
        self._hold({name: torch.stack([state[name] for state in states]).to(device) for name in states[0]})

    def _hold(self, tensors: Mapping[str, Tensor]) -> None:
        n_heads = len(next(iter(tensors.values())))
        with torch.device("meta"):
            self.module = build(self._description, stack=(n_heads,))
        self.module.load_state_dict(tensors, assign=True)
        self.parameters = list(self.module.parameters())
        self.dropouts = [layer for layer in self.module.modules() if isinstance(layer, Dropout)]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The state of all heads, {name in a head's state: (J, ...)}: the tensors themselves, as they are trained."""
        return self.module.state_dict()

    def keep(self, places: Tensor) -> None:
        """Let the other heads go; the parameters are new ones then."""
        self._hold({name: tensor[places] for name, tensor in self.tensors.items()})
