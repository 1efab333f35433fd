"""What attention is made of: tokens split from a vector or projected from token states, and the attention itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.compiler import is_exporting
from torch.nn import functional as F

from heads.data.tokens import TokenBatch
from heads.modules.parts.layers import LayerNorm, Linear, as_precise

__all__ = ["MultiHeadAttention", "SplitTokens", "StateTokens"]

FEW_PAIRS = 1024  # of a query and a key
MASKED = -1e4  # the score of a masked key; its exponential is 0


class SplitTokens(nn.Module):
    """Split a vector into T tokens of H dimensions, each its own projection of the whole and with its own position.

    Shape:
        vectors: (*stack, B, D)
        output: (*stack, B, T, H)
    """

    def __init__(self, dim: int, n_tokens: int, hidden_dim: int, *, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.projection = Linear(dim, n_tokens * hidden_dim, stack=stack)
        self.norm = LayerNorm(hidden_dim, stack=stack)
        self.position = nn.Parameter(torch.empty(*stack, n_tokens, hidden_dim).uniform_(-0.03, 0.03))

    def forward(self, vectors: Tensor) -> Tensor:
        tokens = self.projection(vectors).unflatten(-1, (self.n_tokens, -1))  # (*stack, B, T, H)
        return torch.relu(self.norm(tokens)) + as_precise(self.position.unsqueeze(-3), tokens)


class StateTokens(nn.Module):
    """Project each token state to H dimensions; the cells of a map, which are always as many, get positions too.

    Shape:
        batch: (*stack, B, L, D)
        output: (*stack, B, L, H), zeros in the padding, but for the positions
    """

    def __init__(self, dim: int, n_positions: int, hidden_dim: int, *, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.n_stacked = math.prod(stack)
        self.projection = Linear(dim, hidden_dim, stack=stack)
        self.norm = LayerNorm(hidden_dim, stack=stack)
        self.position = (
            nn.Parameter(torch.empty(*stack, n_positions, hidden_dim).uniform_(-0.03, 0.03)) if n_positions else None
        )

    def forward(self, batch: TokenBatch) -> Tensor:
        values, mask = batch
        if self.training and self.n_stacked == 1 and values.device.type == "cpu" and not mask.all():
            # Padding is not paid for; but a device would have to be waited for, to say how much there is; and in use no
            # shape may follow from the other rows of a batch.
            n_stack = mask.ndim - 2
            projected = self._project(values[mask].unflatten(0, (1,) * n_stack + (-1,)))  # (*stack, n, H)
            states = projected.new_zeros(*mask.shape, projected.shape[-1])  # (*stack, B, L, H)
            states[mask] = projected.flatten(0, -2)
        else:
            states = torch.where(mask[..., None], self._project(values), 0.0)
        if self.position is None:
            return states
        position = F.pad(self.position, (0, 0, 0, states.shape[-2] - self.position.shape[-2]))  # negative: cut off
        return states + as_precise(position.unsqueeze(-3), states)

    def _project(self, values: Tensor) -> Tensor:
        return torch.relu(self.norm(self.projection(values)))


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of several heads (arXiv 1706.03762, section 3.2.2).

    Shape:
        queries: (*stack, B, Q, H)
        keys: (*stack, B, A, H)
        is_key: (*stack, B, A) bool; the other positions are masked
        output: (*stack, B, Q, H)
    """

    def __init__(self, hidden_dim: int, n_heads: int, *, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.question, self.value, self.output = (Linear(hidden_dim, hidden_dim, stack=stack) for _ in range(3))
        self.key = Linear(hidden_dim, hidden_dim, bias=False, stack=stack)  # one would shift all scores alike

    def forward(self, queries: Tensor, keys: Tensor, is_key: Tensor) -> Tensor:
        query, key, value = (
            layer(tokens).flatten(0, -3).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (n, heads, T, H / heads)
            for layer, tokens in ((self.question, queries), (self.key, keys), (self.value, keys))
        )
        mask = is_key.flatten(0, -2)[:, None, None, :]  # (n, 1, 1, A)
        if self.training and queries.shape[-2] * keys.shape[-2] <= FEW_PAIRS:  # four times the fused kernel's speed
            scores = (query * query.shape[-1] ** -0.5) @ key.mT + MASKED * (~mask).to(query.dtype)
            answers = scores.softmax(-1) @ value  # (n, heads, Q, H / heads)
        elif is_exporting():  # what runs an exported graph gives a row without any key numbers of its own, or NaN
            has_key = mask.any(-1, keepdim=True)
            answers = F.scaled_dot_product_attention(query, key, value, attn_mask=mask | ~has_key)
            answers = torch.where(has_key, answers, 0.0)
        else:  # which never holds all pairs at once
            answers = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(answers.transpose(1, 2).reshape(queries.shape))
