"""Every head by its name, built from one description that can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

from torch import nn

from heads.attention import CrossAttention
from heads.early import Early
from heads.late import Late

__all__ = ["HeadDescription", "build"]


@dataclass(frozen=True)
class HeadDescription:
    """What a head is made of: a modality's name or a fusion's, and its sizes."""

    name: str
    dims: Mapping[str, int]  # modality -> D
    n_classes: int
    hidden_dim: int  # attention over tokens is half as wide
    dropout: float
    n_tokens: int
    n_attention_heads: int
    weights: Mapping[str, float] = field(default_factory=dict)  # of late fusion
    token_dims: Mapping[str, int] = field(default_factory=dict)  # of attention: modality -> D of its token states
    n_positions: Mapping[str, int] = field(default_factory=dict)  # modality -> cells, where they are always as many

    def to_dict(self) -> dict[str, object]:
        """Return the description in JSON's types."""
        return asdict(self)


def build(description: HeadDescription) -> nn.Module:
    """Return the untrained head; modules take ``(inputs, present)`` and return logits or log-probabilities.

    Raises:
        HeadError: attention is asked for over one modality.
    """
    if description.name == "attention":
        n_heads, hidden_dim = description.n_attention_heads, description.hidden_dim
        if description.token_dims:  # many tokens need less width each, and cost by it
            hidden_dim = max(hidden_dim // 2 // n_heads, 1) * n_heads
        return CrossAttention(
            description.dims,
            n_classes=description.n_classes,
            hidden_dim=hidden_dim,
            n_tokens=description.n_tokens,
            n_attention_heads=description.n_attention_heads,
            dropout=description.dropout,
            token_dims=description.token_dims,
            n_positions=description.n_positions,
        )
    early = partial(
        Early, n_classes=description.n_classes, hidden_dim=description.hidden_dim, dropout=description.dropout
    )
    if description.name == "late":
        members = {name: early({name: dim}) for name, dim in sorted(description.dims.items())}
        return Late(members, weights=description.weights)
    return early(description.dims)
