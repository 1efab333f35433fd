"""Layers of which J can stand in one: every tensor may have a stack's shape in front, ``()`` for a single head.

A head made of these trains alone with ``stack=()`` and as J heads at once with ``stack=(J,)``: the same code, batched
matrix products instead of a loop, and for each of the J the same numbers as alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BatchNorm", "LayerNorm", "Linear"]


class Linear(nn.Module):
    """Apply a linear map to the last dimension; computed in the inputs' precision, whatever the weights' is.

    Shape:
        inputs: (*stack, ..., in_dim)
        output: (*stack, ..., out_dim)

    >>> Linear(4, 3, stack=(5,))(torch.randn(5, 2, 4)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool = True, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        bound = in_dim**-0.5
        self.weight = nn.Parameter(torch.empty(*stack, out_dim, in_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*stack, out_dim).uniform_(-bound, bound)) if bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        n_stack = self.weight.ndim - 2
        rows = inputs.flatten(n_stack, -2)  # (*stack, n, in_dim)
        found = _Product.apply(rows, self.weight)
        if self.bias is not None:
            found = found + self.bias[..., None, :].to(found.dtype)
        return found.unflatten(n_stack, inputs.shape[n_stack:-1])


class _Product(torch.autograd.Function):
    """Rows times transposed weights; the weights' gradient comes in their own layout and type, without a copy."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        short = weight.to(rows.dtype)
        ctx.save_for_backward(rows, short)
        ctx.weight_dtype = weight.dtype
        return _times(rows, short.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        needs_rows, needs_weight = ctx.needs_input_grad
        rows_grad = _times(grads[0], weight) if needs_rows else None
        weight_grad = _times(grads[0].mT, rows).to(ctx.weight_dtype) if needs_weight else None
        return rows_grad, weight_grad


def _times(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix products; for a stack of one `@` takes a way that is half as fast."""
    return torch.bmm(left, right) if left.ndim == 3 else left @ right


class BatchNorm(nn.Module):
    """Normalise each dimension by the mean and variance of the batch, or of the batches seen (arXiv 1502.03167).

    Shape:
        inputs, output: (*stack, B, dim)
    """

    def __init__(self, dim: int, *, stack: tuple[int, ...] = (), momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(*stack, dim))
        self.bias = nn.Parameter(torch.zeros(*stack, dim))
        self.register_buffer("running_mean", torch.zeros(*stack, dim))
        self.register_buffer("running_var", torch.ones(*stack, dim))

    def forward(self, inputs: Tensor) -> Tensor:
        running_mean, running_var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if not self.training:
            scale = self.weight * torch.rsqrt(running_var + self.epsilon)
            shift = self.bias - running_mean * scale
            return torch.addcmul(shift[..., None, :], inputs, scale[..., None, :]).to(inputs.dtype)
        found, mean, variance = _Normalised.apply(inputs, self.weight, self.bias, self.epsilon)
        n_rows = inputs.shape[-2]
        with torch.no_grad():
            running_mean.lerp_(mean, self.momentum)
            running_var.lerp_(variance * (n_rows / max(n_rows - 1, 1)), self.momentum)
        return found


class _Normalised(torch.autograd.Function):
    """Batch normalisation in as few passes over the rows as there can be; statistics in float32."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor, ...]:
        n_rows = inputs.shape[-2]
        mean = inputs.sum(-2, dtype=torch.float32) / n_rows
        centred = inputs - mean[..., None, :]  # float32
        variance = (centred * centred).sum(-2) / n_rows
        inverse = torch.rsqrt(variance + epsilon)
        found = torch.addcmul(bias[..., None, :], centred, (weight * inverse)[..., None, :]).to(inputs.dtype)
        ctx.save_for_backward(centred, weight, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return found, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        centred, weight, inverse = ctx.saved_tensors
        grad = grads[0].float()
        n_rows = grad.shape[-2]
        bias_grad = grad.sum(-2)
        centred_grad = (grad * centred).sum(-2)  # (*stack, dim)
        # d/dx of weight (x - mean) / std, with what the mean and the variance owe to x.
        found = torch.addcmul(grad, centred, (-centred_grad * inverse * inverse / n_rows)[..., None, :])
        found -= (bias_grad / n_rows)[..., None, :]
        found *= (weight * inverse)[..., None, :]
        return found.to(grads[0].dtype), centred_grad * inverse, bias_grad, None


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
            tensor.reshape(*tensor.shape[:-1], *between, -1).to(inputs.dtype) for tensor in (self.weight, self.bias)
        )
        return torch.addcmul(shift, normal, scale)
