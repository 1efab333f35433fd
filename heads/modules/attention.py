"""Intermediate fusion: multi-head cross-attention between tokens of the modalities.

Over a single key the softmax is 1 whatever the query, and attention is no more than a linear map of the value. So each
vector is split into several tokens by learned projections, the cached token states stand beside them where there are
any, and one key more stands for "nothing".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heads.data.tokens import TokenBatch
from heads.errors import HeadError
from heads.modules.description import HeadDescription
from heads.modules.parts.dropout import Dropout
from heads.modules.parts.layers import LayerNorm, Linear, as_precise
from heads.modules.parts.standardiser import zero_absent
from heads.modules.parts.token_layers import MultiHeadAttention, SplitTokens, StateTokens

__all__ = ["CrossAttention", "build"]


class CrossAttention(nn.Module):
    """Let the first modality's tokens attend to those of the others, and keep its own by a residual.

    The answer is read off the first modality's split vector, token by token, and off the mean over its token states.

    Shape:
        inputs: {modality: (*stack, B, D_modality)} float32, standardised
        present: {modality: (*stack, B)} bool; the tokens of an absent modality are no keys
        tokens: {modality: TokenBatch of (*stack, B, L, D')}, standardised, for the modalities of `token_dims`
        output: (*stack, B, K) logits

    Raises:
        HeadError: there are fewer than two modalities, or tokens of another one.

    The learned "nothing" key is as in nn.MultiheadAttention's ``add_bias_kv``.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        n_classes: int,
        hidden_dim: int,
        n_tokens: int,
        n_attention_heads: int,
        dropout: float,
        token_dims: Mapping[str, int] | None = None,
        n_positions: Mapping[str, int] | None = None,
        stack: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        token_dims, n_positions = token_dims or {}, n_positions or {}
        self.query_modality, *self.key_modalities = sorted(dims)
        if not self.key_modalities:
            raise HeadError(f"Attention needs two modalities or more, but there is {self.query_modality} alone.")
        if unknown := sorted(set(token_dims) - set(dims)):
            raise HeadError(
                f"Attention looks at the tokens of its own modalities, {', '.join(sorted(dims))}, but got those of "
                f"{', '.join(unknown)}."
            )
        self.tokens = nn.ModuleDict(
            {name: SplitTokens(dim, n_tokens, hidden_dim, stack=stack) for name, dim in sorted(dims.items())}
        )
        self.states = nn.ModuleDict(
            {
                name: StateTokens(dim, n_positions.get(name, 0), hidden_dim, stack=stack)
                for name, dim in sorted(token_dims.items())
            }
        )
        self.nothing = nn.Parameter(torch.empty(*stack, 1, hidden_dim).uniform_(-0.03, 0.03))
        self.attention = MultiHeadAttention(hidden_dim, n_attention_heads, stack=stack)
        self.norm = LayerNorm(hidden_dim, stack=stack)
        fused_dim = (n_tokens + (self.query_modality in self.states)) * hidden_dim
        self.dropout = Dropout(dropout, fused_dim, stack=stack)
        self.classifier = Linear(fused_dim, n_classes, stack=stack)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        tokens: Mapping[str, TokenBatch] | None = None,
    ) -> Tensor:
        inputs = zero_absent({name: inputs[name] for name in (self.query_modality, *self.key_modalities)}, present)
        sides = {name: self._side(name, inputs[name], present[name], tokens or {}) for name in inputs}
        queries, is_query = sides[self.query_modality]  # (*stack, B, Q, H), (*stack, B, Q)
        nothing = as_precise(self.nothing.unsqueeze(-3), queries).expand(*queries.shape[:-2], 1, -1)
        nothing_is_key = is_query.new_ones(*is_query.shape[:-1], 1)
        keys = torch.cat([nothing, *(sides[name][0] for name in self.key_modalities)], dim=-2)  # (*stack, B, A, H)
        is_key = torch.cat(
            [nothing_is_key, *(sides[name][1] for name in self.key_modalities)], dim=-1
        )  # (*stack, B, A)
        fused = self.norm(queries + self.attention(queries, keys, is_key))  # (*stack, B, Q, H)
        n_split = self.tokens[self.query_modality].n_tokens
        vectors = fused[..., :n_split, :].flatten(-2)  # (*stack, B, T H)
        if self.query_modality in self.states:
            weights = is_query[..., n_split:, None].to(fused.dtype)  # (*stack, B, L, 1)
            mean = (fused[..., n_split:, :] * weights).sum(-2) / weights.sum(-2).clamp_min(1)  # (*stack, B, H)
            vectors = torch.cat([vectors, mean], dim=-1)
        return self.classifier(self.dropout(vectors))

    def _side(
        self, name: str, vectors: Tensor, present: Tensor, tokens: Mapping[str, TokenBatch]
    ) -> tuple[Tensor, Tensor]:
        """Return a modality's tokens, (*stack, B, T, H), and which of them there are, (*stack, B, T)."""
        split = self.tokens[name](vectors)
        mask = present[..., None].expand(split.shape[:-1])
        if name not in self.states:
            return split, mask
        states = TokenBatch(tokens[name].values, tokens[name].is_there & present[..., None])
        return torch.cat([split, self.states[name](states)], dim=-2), torch.cat([mask, states.is_there], dim=-1)


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:
    """Return the head untrained (`heads.head_types`); over tokens it is half as wide, for they are many."""
    n_heads, sizes = description.n_attention_heads, description.sizes
    if description.token_dims:
        sizes["hidden_dim"] = max(description.hidden_dim // 2 // n_heads, 1) * n_heads
    return CrossAttention(
        description.dims,
        n_tokens=description.n_tokens,
        n_attention_heads=n_heads,
        token_dims=description.token_dims,
        n_positions=description.n_positions,
        **sizes,
        stack=stack,
    )
