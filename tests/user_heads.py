"""Heads of a user's own class: one with the usual layers, and others that cannot be trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

HIDDEN_DIM = 16

# For tests that write it to a file, and change the file.
PLAIN_SOURCE = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, dims, *, n_classes):
        super().__init__()
        self.names = sorted(dims)
        self.layer = nn.Linear(sum(dims.values()), n_classes)

    def forward(self, inputs, present):
        return self.layer(torch.cat([inputs[name] for name in self.names], dim=1))
"""


class Usual(nn.Module):
    """Drops units and keeps statistics of the batches."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(dim, HIDDEN_DIM) for name, dim in sorted(dims.items())})
        self.norm = nn.BatchNorm1d(HIDDEN_DIM)
        self.dropout = nn.Dropout(0.4)
        self.classifier = nn.Linear(HIDDEN_DIM, n_classes)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        fused = sum(layer(inputs[name] * present[name][:, None]) for name, layer in self.layers.items())
        return self.classifier(self.dropout(torch.relu(self.norm(fused))))


class Blind(Usual):
    """Never looks at what is present."""

    calls: list[tuple[Tensor, Tensor]] = []  # noqa: RUF012 - of all heads of the class, for tests to look at

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        self.calls.extend((inputs[name].clone(), present[name].clone()) for name in inputs)
        return super().forward(inputs, {name: torch.ones_like(mask) for name, mask in present.items()})


class Unused(Usual):
    """Has a parameter that no answer depends on."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.idle = nn.Parameter(torch.ones(3))


class Counting(Usual):
    """Puts a new tensor in the place of a buffer."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.register_buffer("n_batches", torch.zeros(()))

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        if self.training:
            self.n_batches = self.n_batches + 1
        return super().forward(inputs, present)


class Bare(nn.Module):
    """Has no parameters."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.name, self.n_classes = min(dims), n_classes

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return (inputs[self.name] * present[self.name][:, None])[:, : self.n_classes]


class Tied(Usual):
    """Has two layers that share their weights."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.other = nn.Linear(HIDDEN_DIM, n_classes)
        self.other.weight = self.classifier.weight


class Raising(Usual):
    """Fails when it is called."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return super().forward({"sound": inputs["sound"]}, present)


class Failing(Usual):
    """Cannot be built."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        raise KeyError("sound")


class Wide(Usual):
    """Answers for a class too many."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes + 1)


class Pair(Usual):
    """Returns more than its answers."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return super().forward(inputs, present), None  # type: ignore[return-value]


class Detached(Usual):
    """Cuts the gradient of everything."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return super().forward(inputs, present).detach()


class Stateful(Usual):
    """Keeps something in its state that is no tensor."""

    def get_extra_state(self) -> object:
        return "kept"

    def set_extra_state(self, state: object) -> None:
        pass


class Linear(nn.Module):
    """A linear map alone."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(sum(dims.values()), n_classes)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.layer(torch.cat([inputs[name] * present[name][:, None] for name in sorted(inputs)], dim=1))


class Remembering(Linear):
    """Has a state that is no tensor."""

    def get_extra_state(self) -> dict:
        return {"seen": 0}

    def set_extra_state(self, state: dict) -> None:
        """Take what `get_extra_state` gave."""


class Looking(Linear):
    """Branches on the values of its inputs."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        if all(mask.all() for mask in present.values()):
            return super().forward(inputs, present)
        return super().forward({name: vectors * 1.0 for name, vectors in inputs.items()}, present)
