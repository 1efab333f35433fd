"""Layers of which J can stand in one: every tensor may have a stack's shape in front, ``()`` for a single head.

A head made of these trains alone with ``stack=()`` and as J heads at once with ``stack=(J,)``: the same code, batched
matrix products instead of a loop, and for each of the J the same numbers as alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BatchNorm", "LayerNorm", "Linear", "as_precise"]


def as_precise(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor in another's precision; of one that is, an exported graph keeps no step that changes nothing."""
    return tensor if tensor.dtype == like.dtype else tensor.to(like.dtype)


class Linear(nn.Module):
    """Apply a linear map to the last dimension; computed in the inputs' precision, whatever the weights' is.

    The weights are the transposed ones of nn.Linear: so their gradient comes in their own layout, without a copy.

    Shape:
        inputs: (*stack, ..., in_dim)
        weight: (*stack, in_dim, out_dim)
        output: (*stack, ..., out_dim)

    >>> Linear(4, 3, stack=(5,))(torch.randn(5, 2, 4)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool = True, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        bound = in_dim**-0.5
        self.weight = nn.Parameter(torch.empty(*stack, in_dim, out_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*stack, out_dim).uniform_(-bound, bound)) if bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        n_stack = self.weight.ndim - 2
        rows = inputs if inputs.ndim == n_stack + 2 else inputs.flatten(n_stack, -2)  # (*stack, n, in_dim)
        weight = as_precise(self.weight, rows)
        times, add_times = (torch.bmm, torch.baddbmm) if n_stack else (torch.mm, torch.addmm)  # `@` is half as fast
        if self.bias is None:
            outputs = times(rows, weight)
        else:
            outputs = add_times(as_precise(self.bias.unsqueeze(-2), rows), rows, weight)  # (*stack, n, out_dim)
        return outputs if rows is inputs else outputs.unflatten(n_stack, inputs.shape[n_stack:-1])


class BatchNorm(nn.Module):
    """Normalise each dimension by the mean and variance of the batch, or of the batches seen (arXiv 1502.03167).

    A batch of one row has no variance, and is normalised as in evaluation.

    Shape:
        inputs, output: (*stack, B, dim)
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int, *, stack: tuple[int, ...] = (), momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(*stack, dim))
        self.bias = nn.Parameter(torch.zeros(*stack, dim))
        self.register_buffer("running_mean", torch.zeros(*stack, dim))
        self.register_buffer("running_var", torch.ones(*stack, dim))

    def forward(self, inputs: Tensor) -> Tensor:
        # To torch the dimensions of all heads are those of one; it takes the statistics in the parameters' precision,
        # whatever the inputs' is, and not of one row.
        is_one = self.weight.numel() == self.weight.shape[-1]  # head: there is nothing to move
        side_by_side = inputs if is_one else inputs.movedim(-2, 0)  # (B, *stack, dim)
        outputs = F.batch_norm(
            side_by_side.flatten(0, -2) if is_one else side_by_side.flatten(1),
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.weight.flatten(),
            self.bias.flatten(),
            self.training and inputs.shape[-2] > 1,
            self.momentum,
            self.epsilon,
        )
        outputs = outputs.view(side_by_side.shape)
        return outputs if is_one else outputs.movedim(0, -2)


class LayerNorm(nn.Module):
    """Normalise each row over its last dimension (arXiv 1607.06450).

    Shape:
        inputs, output: (*stack, ..., dim)
    """

    def __init__(self, dim: int, *, stack: tuple[int, ...] = (), epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(*stack, dim))
        self.bias = nn.Parameter(torch.zeros(*stack, dim))

    def forward(self, inputs: Tensor) -> Tensor:
        normal = F.layer_norm(inputs, inputs.shape[-1:], eps=self.epsilon)
        between = [1] * (inputs.ndim - self.weight.ndim)  # the dimensions after the stack's and before the last
        scale, shift = (
            as_precise(tensor.reshape(*tensor.shape[:-1], *between, -1), inputs) for tensor in (self.weight, self.bias)
        )
        return torch.addcmul(shift, normal, scale)
