"""Heads of a class that knows no stack, in the form of one that does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from heads.errors import HeadError
from heads.modules.parts.standardiser import zero_absent
from heads.modules.plugin import blame

__all__ = ["SEEDING", "OneByOne", "drawing_apart"]

SEEDING = threading.Lock()  # torch's own generator is one for all threads
SEED_STEP = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: apart from each other, whatever the seeds


@contextmanager
def drawing_apart() -> Iterator[None]:
    """Let what is drawn from torch's own generator in this block change nothing that others draw, in any thread."""
    with SEEDING, torch.random.fork_rng(devices=[]):
        yield


class OneByOne:
    """Compute J heads of a plain nn.Module class one after the other, from tensors with J in front.

    They compute in float32, and get zeros where a modality is absent. What they draw at random (dropout) follows from
    each head's own seed and step.

    Raises:
        HeadError: the class cannot be trained, or its code raises something.
    """

    def __init__(self, template: nn.Module, seeds: Sequence[int], *, name: str, n_classes: int) -> None:
        self.seeds = list(seeds)
        self._name = name
        self._n_classes = n_classes
        self._template = template
        self._trained = {name for name, parameter in template.named_parameters() if parameter.requires_grad}
        if not self._trained:
            raise HeadError(f"Expected {name} to have parameters that are trained, but it has none. {self._way_out}")
        all_names = {name for name, _ in template.named_parameters(remove_duplicate=False)}
        if aliases := all_names - {name for name, _ in template.named_parameters()}:
            raise HeadError(
                f"Expected {name} to have each parameter under one name, but {', '.join(sorted(aliases))} is another "
                f"name of one. {self._way_out}"
            )
        self._tensors: dict[str, Tensor] = {}
        self._n_steps = 0

    @property
    def _way_out(self) -> str:
        return f"Look at it with heads-check {self._name}."

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

    def gradients(self, loss: Tensor) -> Sequence[Tensor]:
        """Return the gradient of each of the parameters: zeros of one that this batch has no use for."""
        with blame(self._name, "have gradients"):
            return torch.autograd.grad(loss, self.parameters(), allow_unused=True, materialize_grads=True)

    def __call__(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        tensors_by_head = {name: tensor.unbind(0) for name, tensor in self._tensors.items()}
        zeroed = zero_absent(inputs, present)
        self._n_steps += self._template.training
        answers = []
        for number, seed in enumerate(self.seeds):
            state = {name: tensors[number] for name, tensors in tensors_by_head.items()}
            arguments = (
                {name: vectors[number].float() for name, vectors in zeroed.items()},
                {name: mask[number] for name, mask in present.items()},
            )
            with self._seeded(seed, next(iter(present.values())).device), blame(self._name, "answer"):
                after = dict(state)
                answer = functional_call(self._template, after, arguments)
                for name in [name for name in state if after[name] is not state[name]]:
                    with torch.no_grad():  # the class has put another tensor into a buffer's place
                        state[name].copy_(after[name])
            answers.append(self._checked(answer, n_rows=len(next(iter(arguments[1].values())))))
        return torch.stack(answers)

    def _checked(self, answer: object, *, n_rows: int) -> Tensor:
        expected = f"Expected {self._name} to answer with a tensor ({n_rows}, {self._n_classes}), but it"
        if not isinstance(answer, Tensor):
            raise HeadError(f"{expected} answers with a {type(answer).__name__}. {self._way_out}")
        if answer.shape != (n_rows, self._n_classes):
            raise HeadError(f"{expected} is {tuple(answer.shape)}. {self._way_out}")
        return answer

    @contextmanager
    def _seeded(self, seed: int, device: torch.device) -> Iterator[None]:
        """Let what is drawn in training follow from the seed and the step; the caller's random state stays."""
        if not self._template.training:
            yield
            return
        step_seed = (seed + SEED_STEP * self._n_steps) % 2**63
        with SEEDING, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.default_generator.manual_seed(step_seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(step_seed)
            yield
