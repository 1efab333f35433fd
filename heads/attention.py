"""Intermediate fusion: multi-head cross-attention between tokens of the modalities.

Over a single key the softmax is 1 whatever is asked, and attention is no more than a linear map of the answer. So each
vector is split into several tokens by learned projections, the cached token states stand beside them where there are
any, and one key more stands for "nothing".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heads.errors import HeadError
from heads.standardise import zero_absent
from heads.token_layers import SplitTokens, StateTokens
from heads.tokens import TokenBatch

__all__ = ["CrossAttention"]


class CrossAttention(nn.Module):
    """The first modality asks, the others answer; the asker is kept by a residual.

    The asker's answers are read off its split vector, token by token, and off the mean over its token states.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool; the tokens of an absent modality are no keys
        tokens: {modality: TokenBatch of (B, L, D')}, standardised, for the modalities of `token_dims`
        output: (B, K) logits

    Raises:
        HeadError: there are fewer than two modalities, or tokens of another one.

    Attention as in arXiv 1706.03762, section 3.2.2; the learned "nothing" key as in nn.MultiheadAttention's
    ``add_bias_kv``.
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
    ) -> None:
        super().__init__()
        token_dims, n_positions = token_dims or {}, n_positions or {}
        self.asker, *self.answerers = sorted(dims)
        if not self.answerers:
            raise HeadError(f"Attention needs two modalities or more, however there is {self.asker} alone.")
        if unknown := sorted(set(token_dims) - set(dims)):
            raise HeadError(
                f"Attention looks at the tokens of its own modalities, {', '.join(sorted(dims))}, however got those of "
                f"{', '.join(unknown)}."
            )
        self.tokens = nn.ModuleDict(
            {name: SplitTokens(dim, n_tokens, hidden_dim) for name, dim in sorted(dims.items())}
        )
        self.states = nn.ModuleDict(
            {name: StateTokens(dim, n_positions.get(name, 0), hidden_dim) for name, dim in sorted(token_dims.items())}
        )
        self.nothing = nn.Parameter(torch.randn(1, 1, hidden_dim) * 0.02)
        self.attention = nn.MultiheadAttention(hidden_dim, n_attention_heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear((n_tokens + (self.asker in self.states)) * hidden_dim, n_classes)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        tokens: Mapping[str, TokenBatch] | None = None,
    ) -> Tensor:
        inputs = zero_absent({name: inputs[name] for name in (self.asker, *self.answerers)}, present)
        sides = {name: self._side(name, inputs[name], present[name], tokens or {}) for name in inputs}
        questions, is_asked = sides[self.asker]  # (B, Q, H), (B, Q)
        nothing = self.nothing.expand(len(questions), 1, -1)
        nothing_is_there = torch.ones(len(questions), 1, dtype=torch.bool, device=nothing.device)
        keys = torch.cat([nothing, *(sides[name][0] for name in self.answerers)], dim=1)  # (B, A, H)
        is_key = torch.cat([nothing_is_there, *(sides[name][1] for name in self.answerers)], dim=1)  # (B, A)
        answer, _ = self.attention(questions, keys, keys, key_padding_mask=~is_key, need_weights=False)
        fused = self.norm(questions + answer)  # (B, Q, H)
        n_split = self.tokens[self.asker].n_tokens
        found = fused[:, :n_split].flatten(1)  # (B, T H)
        if self.asker in self.states:
            weights = is_asked[:, n_split:, None].float()  # (B, L, 1)
            mean = (fused[:, n_split:] * weights).sum(1) / weights.sum(1).clamp_min(1)  # (B, H)
            found = torch.cat([found, mean], dim=1)
        return self.classifier(self.dropout(found))

    def _side(
        self, name: str, vectors: Tensor, present: Tensor, tokens: Mapping[str, TokenBatch]
    ) -> tuple[Tensor, Tensor]:
        """Return a modality's tokens, (B, T, H), and which of them there are, (B, T)."""
        split = self.tokens[name](vectors)
        is_there = present[:, None].expand(-1, split.shape[1])
        if name not in self.states:
            return split, is_there
        own = TokenBatch(tokens[name].values, tokens[name].is_there & present[:, None])
        return torch.cat([split, self.states[name](own)], dim=1), torch.cat([is_there, own.is_there], dim=1)
