"""Intermediate fusion: multi-head cross-attention between tokens of the modalities.

Over a single key the softmax is 1 whatever is asked, and attention is no more than a linear map of the answer. So each
vector is split into several tokens by learned projections, and one key more stands for "nothing".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heads.errors import HeadError
from heads.standardise import zero_absent

__all__ = ["CrossAttention"]


class CrossAttention(nn.Module):
    """The first modality asks, the others answer; the asker is kept by a residual.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool; the tokens of an absent modality are no keys
        output: (B, K) logits

    Raises:
        HeadError: there are fewer than two modalities, or fewer than two keys.

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
    ) -> None:
        super().__init__()
        self.asker, *self.answerers = sorted(dims)
        if not self.answerers:
            raise HeadError(f"Attention needs two modalities or more, however there is {self.asker} alone.")
        self.tokens = nn.ModuleDict({name: _Tokens(dim, n_tokens, hidden_dim) for name, dim in sorted(dims.items())})
        self.nothing = nn.Parameter(torch.randn(1, 1, hidden_dim) * 0.02)
        self.attention = nn.MultiheadAttention(hidden_dim, n_attention_heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(n_tokens * hidden_dim, n_classes)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        inputs = zero_absent({name: inputs[name] for name in (self.asker, *self.answerers)}, present)
        questions = self.tokens[self.asker](inputs[self.asker])  # (B, T, H)
        n_rows, n_tokens, _ = questions.shape
        answers = [self.tokens[name](inputs[name]) for name in self.answerers]  # each (B, T, H)
        keys = torch.cat([self.nothing.expand(n_rows, 1, -1), *answers], dim=1)  # (B, 1 + A T, H)
        nothing_is_there = torch.zeros(n_rows, 1, dtype=torch.bool, device=keys.device)
        absent = [~present[name][:, None].expand(-1, n_tokens) for name in self.answerers]
        absent_keys = torch.cat([nothing_is_there, *absent], dim=1)  # (B, 1 + A T)
        answer, _ = self.attention(questions, keys, keys, key_padding_mask=absent_keys, need_weights=False)
        fused = self.norm(questions + answer)  # (B, T, H)
        return self.classifier(self.dropout(fused).flatten(1))


class _Tokens(nn.Module):
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
