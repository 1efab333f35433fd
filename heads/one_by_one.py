"""Heads of a class that knows no stack, in the form of one that does."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["SEEDING", "OneByOne"]

SEEDING = threading.Lock()  # torch's own generator is one for all threads
SEED_STEP = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: apart from each other, whatever the seeds


class OneByOne:
    """Compute J heads of a plain nn.Module class one after the other, from tensors with J in front.

    They compute in float32. What they draw at random (dropout) follows from each head's own seed and step.
    """

    def __init__(self, template: nn.Module, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self._template = template
        self._trained = {name for name, parameter in template.named_parameters() if parameter.requires_grad}
        self._tensors: dict[str, Tensor] = {}
        self._n_steps = 0

    def hold(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors of all heads, {name in a head's state: (J, ...)}."""
        self._tensors = {name: tensor.requires_grad_(name in self._trained) for name, tensor in tensors.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors themselves."""
        return dict(self._tensors)

    def parameters(self) -> list[Tensor]:
        """Return the tensors that are trained."""
        return [tensor for tensor in self._tensors.values() if tensor.requires_grad]

    def modules(self) -> list[nn.Module]:
        """Return none: what the class is made of knows no stack."""
        return []

    def train(self) -> None:
        """Let dropout and batch statistics be as in training."""
        self._template.train()

    def eval(self) -> None:
        """Let dropout and batch statistics be as in use."""
        self._template.eval()

    def __call__(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        own = {name: tensor.unbind(0) for name, tensor in self._tensors.items()}
        self._n_steps += self._template.training
        answers = []
        for place, seed in enumerate(self.seeds):
            arguments = (
                {name: vectors[place].float() for name, vectors in inputs.items()},
                {name: mask[place] for name, mask in present.items()},
            )
            with SEEDING, torch.random.fork_rng(devices=[], enabled=self._template.training):
                if self._template.training:
                    torch.manual_seed((seed + SEED_STEP * self._n_steps) % 2**63)
                state = {name: tensors[place] for name, tensors in own.items()}
                answers.append(functional_call(self._template, state, arguments))
        return torch.stack(answers)
