"""Early fusion: concatenate, then classify. With one modality it is that modality alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.parts.dropout import Dropout
from heads.modules.parts.layers import BatchNorm, Linear
from heads.modules.parts.standardiser import concatenate

__all__ = ["Early", "build"]


class Early(nn.Module):
    """Classify the concatenation of all modalities with one hidden layer, batch norm and dropout.

    Shape:
        inputs: {modality: (*stack, B, D_modality)} float32, standardised
        present: {modality: (*stack, B)} bool
        output: (*stack, B, K) logits

    >>> import torch
    >>> head = Early({"image": 512, "text": 768}, n_classes=10, hidden_dim=256, dropout=0.5)
    >>> vectors = {"image": torch.randn(4, 512), "text": torch.randn(4, 768)}
    >>> head(vectors, {name: torch.ones(4, dtype=torch.bool) for name in vectors}).shape
    torch.Size([4, 10])
    """

    def __init__(
        self, dims: Mapping[str, int], *, n_classes: int, hidden_dim: int, dropout: float, stack: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.layers = nn.Sequential(
            Linear(sum(dims.values()), hidden_dim, bias=False, stack=stack),  # batch norm has one
            BatchNorm(hidden_dim, stack=stack),
            nn.ReLU(),
            Dropout(dropout, hidden_dim, stack=stack),
            Linear(hidden_dim, n_classes, stack=stack),
        )

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.layers(concatenate(inputs, present, self.modalities))


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:
    """Return the head untrained (`heads.head_types`)."""
    return Early(description.dims, **description.sizes, stack=stack)
