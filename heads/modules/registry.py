"""Every head by its name, built from one description that can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

from heads.errors import HeadError
from heads.modules.attention import CrossAttention
from heads.modules.centroids import Centroids
from heads.modules.early import Early
from heads.modules.gated import Gated
from heads.modules.guard import GUARD, Guarded
from heads.modules.late import Late
from heads.modules.learned_absence import LearnedAbsent
from heads.modules.logistic import Logistic
from heads.modules.lowrank import LowRank
from heads.modules.majority import Majority
from heads.modules.neighbours import Neighbours
from heads.modules.plugin import load_plugin

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
    rank: int = 4  # of lowrank
    n_stored: int = 0  # of neighbours: the training rows that it keeps
    plugin: str | None = None  # the class of a head of the user's own: module:Class or path/to/file.py:Class
    absent: str = "zeros"  # or "learned"
    weights: Mapping[str, float] = field(default_factory=dict)  # of late fusion
    token_dims: Mapping[str, int] = field(default_factory=dict)  # of attention: modality -> D of its token states
    n_positions: Mapping[str, int] = field(default_factory=dict)  # modality -> cells, where they are always as many

    def to_dict(self) -> dict[str, object]:
        """Return the description in JSON's types."""
        return asdict(self)


def build(description: HeadDescription, *, stack: tuple[int, ...] = ()) -> nn.Module:
    """Return the untrained head, or J of them in one with ``stack=(J,)``, which a user's own class knows nothing of.

    Modules take ``(inputs, present)`` and return logits or log-probabilities.

    Raises:
        HeadError: attention is asked for over one modality, a dropout is no rate, or the user's own class is no head.
    """
    if description.name.endswith(GUARD):
        fusion = replace(description, name=description.name.removesuffix(GUARD))
        return Guarded(build(fusion, stack=stack), _build_singles(description, stack))
    if description.plugin is not None:
        return load_plugin(description.plugin)(description.dims, n_classes=description.n_classes)
    if description.name == "late":
        return Late(_build_singles(description, stack), weights=description.weights)
    head = _build_plain(description, stack)
    return LearnedAbsent(head, description.dims, stack=stack) if description.absent == "learned" else head


def _build_singles(description: HeadDescription, stack: tuple[int, ...]) -> dict[str, nn.Module]:
    """Return each modality's own head."""
    plain = replace(description, absent="zeros", weights={}, token_dims={}, n_positions={})
    return {
        name: build(replace(plain, name=name, dims={name: dim}), stack=stack)
        for name, dim in sorted(description.dims.items())
    }


def _build_plain(description: HeadDescription, stack: tuple[int, ...]) -> nn.Module:
    if not 0 <= description.dropout < 1:
        raise HeadError(f"Expected the dropout of a head to be at least 0 and less than 1, got {description.dropout}.")
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
        case "majority":
            return Majority(description.dims, n_classes=description.n_classes)
        case "centroids":
            return Centroids(description.dims, n_classes=description.n_classes)
        case "neighbours":
            return Neighbours(description.dims, n_classes=description.n_classes, n_rows=description.n_stored)
        case "logistic":
            return Logistic(description.dims, n_classes=description.n_classes)
        case "lowrank":
            return LowRank(description.dims, rank=description.rank, **sizes)
        case _:  # concatenation, or a modality alone
            return Early(description.dims, **sizes)
