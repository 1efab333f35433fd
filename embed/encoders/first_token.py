"""The last layer of BERT and its kind, computed for the first token alone where only that one is wanted."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["keep_first_token"]

# Their layers are built alike: self-attention and a feed-forward net, each followed by a residual and a norm.
LAYERS = {"BertLayer", "CamembertLayer", "ElectraLayer", "RobertaLayer", "XLMRobertaLayer"}


class FirstTokenLayer(nn.Module):
    """A BERT layer that computes the query of the first token alone; it attends to all tokens.

    The first token's output depends on the other tokens only through their keys and values. So the vector is the same,
    and five sixths of the layer's products fall away.

    Shape:
        hidden_states: (B, L, D)
        attention_mask: (B, 1, L, L), or None where nothing is padding
        output: (B, 1, D)
    """

    def __init__(self, layer: Any) -> None:  # of a class of `LAYERS`
        super().__init__()
        self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        attention: Any = self.attention
        first_state = hidden_states[:, :1]  # (B, 1, D)
        query, key, value = (
            project(states).unflatten(2, (attention.self.num_attention_heads, -1)).transpose(1, 2)  # (B, heads, L, d)
            for project, states in (
                (attention.self.query, first_state),
                (attention.self.key, hidden_states),
                (attention.self.value, hidden_states),
            )
        )
        mask = None if attention_mask is None else attention_mask[:, :, :1]  # (B, 1, 1, L)
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # (B, heads, 1, d)
        attended = attention.output(context.transpose(1, 2).flatten(2), first_state)  # (B, 1, D)
        return self.output(self.intermediate(attended), attended)


def keep_first_token(model: Any) -> Any:
    """Return the model with a last layer that computes the first token alone, where its kind is known."""
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if isinstance(layers, nn.ModuleList) and type(layers[-1]).__name__ in LAYERS and not model.config.is_decoder:
        layers[-1] = FirstTokenLayer(layers[-1])
        model.pooler = None  # [CLS] is taken from the last hidden state
    return model
