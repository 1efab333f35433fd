"""What attention looks at: tokens of one width, split from a vector or projected from token states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.tokens import TokenBatch

__all__ = ["SplitTokens", "StateTokens"]


class SplitTokens(nn.Module):
    """Split a vector into T tokens of H dimensions, each its own projection of the whole and with its own position.

    Shape:
        vectors: (B, D)
        output: (B, T, H)
    """

    def __init__(self, dim: int, n_tokens: int, hidden_dim: int) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.projection = nn.Linear(dim, n_tokens * hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim)
        self.position = nn.Parameter(torch.randn(1, n_tokens, hidden_dim) * 0.02)

    def forward(self, vectors: Tensor) -> Tensor:
        tokens = self.projection(vectors).unflatten(1, (self.n_tokens, -1))  # (B, T, H)
        return torch.relu(self.norm(tokens)) + self.position


class StateTokens(nn.Module):
    """Project each token state to H dimensions; the cells of a map, which are always as many, get positions too.

    Shape:
        batch: (B, L, D)
        output: (B, L, H), zeros in the padding, but for the positions
    """

    def __init__(self, dim: int, n_positions: int, hidden_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim)
        self.position = nn.Parameter(torch.randn(n_positions, hidden_dim) * 0.02) if n_positions else None

    def forward(self, batch: TokenBatch) -> Tensor:
        values, is_there = batch
        if self.training and not is_there.all():
            # Padding is not paid for; but where answers are asked for, no shape may follow from a row's mates.
            states = values.new_zeros(*is_there.shape, self.norm.normalized_shape[0])  # (B, L, H)
            states[is_there] = self._project(values[is_there])
        else:
            states = torch.where(is_there[:, :, None], self._project(values), 0.0)
        if self.position is None:
            return states
        return states + F.pad(self.position, (0, 0, 0, states.shape[1] - len(self.position)))  # negative: cut off

    def _project(self, values: Tensor) -> Tensor:
        return torch.relu(self.norm(self.projection(values)))
