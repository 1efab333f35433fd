"""The control: every product gets the same answer, the training rows' largest class."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.fitting.rows_to_fit import RowsToFit

__all__ = ["Majority", "build", "fit", "fit_majority"]


class Majority(nn.Module):
    """Answer with the classes' shares of the training rows, whatever the product.

    Shape:
        inputs: {modality: (B, D_modality)} float32
        present: {modality: (B,)} bool
        output: (B, K) log-probabilities
    """

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.register_buffer("log_shares", torch.full((n_classes,), 1 / n_classes).log())

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002 - a head's
        return self.get_buffer("log_shares").expand(present[self.modalities[0]].shape[0], -1).clone()


def fit_majority(
    dims: Mapping[str, int], targets: Tensor, train: Tensor, *, n_classes: int, sample_weights: Tensor | None = None
) -> Majority:
    """Return the control fitted to the training rows, each class counted once more than it occurs (Laplace).

    Shape:
        targets: (N,) int64
        train: (n,) int64
        sample_weights: (N,) float64, how often each row counts; None: once
    """
    weights = None if sample_weights is None else sample_weights[train]
    counts = torch.bincount(targets[train], weights, minlength=n_classes).double() + 1
    module = Majority(dims, n_classes=n_classes).to(targets.device)
    module.get_buffer("log_shares").copy_((counts / counts.sum()).log())
    return module.eval()


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:  # noqa: ARG001 - it is fitted alone
    """Return the head, not fitted (`heads.head_types`)."""
    return Majority(description.dims, n_classes=description.n_classes)


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and nothing else that its description must say (`heads.head_types`)."""
    weights = rows.sample_weights
    return fit_majority(rows.dims, rows.targets, rows.train, n_classes=rows.n_classes, sample_weights=weights), {}
