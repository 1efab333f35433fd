"""J heads of one shape whose tensors stand in one, to be trained together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.one_by_one import OneByOne
from heads.modules.parts.dropout import Dropout
from heads.modules.plugin import blame
from heads.modules.seeded import build_empty, build_seeded

__all__ = ["Stack"]


class Stack:
    """The tensors of J heads, each with a leading dimension of J, and the module that computes them at once."""

    def __init__(self, descriptions: Sequence[HeadDescription], seeds: Sequence[int], *, device: torch.device) -> None:
        self._description = descriptions[0]
        heads = [build_seeded(description, seed) for description, seed in zip(descriptions, seeds, strict=True)]
        self.module: nn.Module | OneByOne = heads[0]
        if self._description.plugin is None:
            tensors = _stacked(heads, device)
        else:
            with blame(self._description.plugin, "have a state of tensors"):
                tensors = _stacked(heads, device)
                template = heads[0].to(device)
            self.module = OneByOne(
                template, seeds, name=self._description.plugin, n_classes=self._description.n_classes
            )
        self._hold(tensors)

    def _hold(self, tensors: Mapping[str, Tensor]) -> None:
        if isinstance(self.module, OneByOne):
            self.module.hold(tensors)
        else:
            n_heads = len(next(iter(tensors.values())))
            self.module = build_empty(self._description, stack=(n_heads,))
            self.module.load_state_dict(tensors, assign=True)
        self.parameters = list(self.module.parameters())
        self.dropouts = [layer for layer in self.module.modules() if isinstance(layer, Dropout)]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The state of all heads, {name in a head's state: (J, ...)}: the tensors themselves, as they are trained."""
        return self.module.state_dict()

    def gradients(self, loss: Tensor) -> Sequence[Tensor]:
        """Return the gradient of each of the parameters."""
        if isinstance(self.module, OneByOne):
            return self.module.gradients(loss)
        return torch.autograd.grad(loss, self.parameters)

    def keep(self, indices: Tensor) -> None:
        """Keep the heads of these indices, (n,) int64, and drop the others; the parameters are new tensors then."""
        if isinstance(self.module, OneByOne):
            self.module.seeds = [self.module.seeds[index] for index in indices.tolist()]
        self._hold({name: tensor.detach()[indices] for name, tensor in self.tensors.items()})


def _stacked(heads: Sequence[nn.Module], device: torch.device) -> dict[str, Tensor]:
    states = [head.state_dict() for head in heads]
    return {name: torch.stack([state[name] for state in states]).to(device) for name in states[0]}
