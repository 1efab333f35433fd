"""What a head is made of, in words that can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from heads.errors import HeadError
from heads.head_types import head_type

__all__ = ["HeadDescription"]


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
    scaling: str = "z-score"  # of the vectors, before the head sees them
    weights: Mapping[str, float] = field(default_factory=dict)  # of late fusion, or of the members of an ensemble
    token_dims: Mapping[str, int] = field(default_factory=dict)  # of attention: modality -> D of its token states
    n_positions: Mapping[str, int] = field(default_factory=dict)  # modality -> cells, where they are always as many

    def single(self, modality: str) -> HeadDescription:
        """Return what a modality's own head is made of beside an ensemble that is described by this."""
        plain = replace(self, plugin=None, absent="zeros", weights={}, token_dims={}, n_positions={})
        return replace(plain, name=modality, dims={modality: self.dims[modality]})

    def member(self, name: str) -> HeadDescription:
        """Return what a member of the ensemble that this describes is made of: a modality's own head, or a fusion."""
        if name in self.dims:
            return self.single(name)
        kind = head_type(name)
        member = replace(self, name=name, weights={}, absent="zeros" if kind.at_once else self.absent)
        return member if kind.takes_tokens else replace(member, token_dims={}, n_positions={})

    def to_dict(self) -> dict[str, object]:
        """Return the description in JSON's types."""
        return asdict(self)

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of all heads that are trained by steps: how many classes, how wide, and how much is dropped.

        Raises:
            HeadError: the dropout is no rate.
        """
        if not 0 <= self.dropout < 1:
            raise HeadError(f"Expected the dropout of a head to be at least 0 and less than 1, got {self.dropout}.")
        return {"n_classes": self.n_classes, "hidden_dim": self.hidden_dim, "dropout": self.dropout}
