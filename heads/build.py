"""Every head by its name, built from one description that can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

from heads.absent import LearnedAbsent
from heads.attention import CrossAttention
from heads.early import Early
from heads.errors import HeadError
from heads.gated import Gated
from heads.late import Late
from heads.lowrank import LowRank

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
    rank: int = 8  # of lowrank
    absent: str = "zeros"  # or "learned"
    weights: Mapping[str, float] = field(default_factory=dict)  # of late fusion
    token_dims: Mapping[str, int] = field(default_factory=dict)  # of attention: modality -> D of its token states
    n_positions: Mapping[str, int] = field(default_factory=dict)  # modality -> cells, where they are always as many

    def to_dict(self) -> dict[str, object]:
        """Return the description in JSON's types."""
        return asdict(self)


def build(description: HeadDescription, *, stack: tuple[int, ...] = ()) -> nn.Module:
    """Return the untrained head, or J of them in one with ``stack=(J,)``.

    Modules take ``(inputs, present)`` and return logits or log-probabilities.

    Raises:
        HeadError: attention is asked for over one modality, or a rate of dropout is none.
    """
    if description.name == "late":
        members = {
            name: build(replace(description, name=name, dims={name: dim}), stack=stack)
            for name, dim in sorted(description.dims.items())
        }
        return Late(members, weights=description.weights)
    head = _build_plain(description, stack)
    return LearnedAbsent(head, description.dims, stack=stack) if description.absent == "learned" else head


def _build_plain(description: HeadDescription, stack: tuple[int, ...]) -> nn.Module:
    if not 0 <= description.dropout < 1:
        raise HeadError(
            f"The dropout of a head must be at least 0 and less than 1, however it is {description.dropout}."
        )
    sizes: dict[str, Any] = {
        "n_classes": description.n_classes,
        "hidden_dim": description.hidden_dim,
        "dropout": description.dropout,
        "stack": stack,
    }
    match description.name:
        case "attention":
            n_heads = description.n_attention_heads
            if description.token_dims:  # many tokens need less width each, and cost by it
                sizes["hidden_dim"] = max(description.hidden_dim // 2 // n_heads, 1) * n_heads
            return CrossAttention(
                description.dims,
                n_tokens=description.n_tokens,
                n_attention_heads=n_heads,
                token_dims=description.token_dims,
                n_positions=description.n_positions,
                **sizes,
            )
        case "gated":
            return Gated(description.dims, **sizes)
        case "lowrank":
            return LowRank(description.dims, rank=description.rank, **sizes)
        case _:  # concatenation, or a modality alone
            return Early(description.dims, **sizes)
