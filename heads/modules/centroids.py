"""The nearest class mean: a head of no parameters but K points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heads.modules.description import HeadDescription
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.fitting.temperature import fit_temperature
from heads.modules.fitting.unseen_classes import LEAST_LOG_PROBABILITY
from heads.modules.parts.directions import Directions

__all__ = ["Centroids", "CentroidsFit", "build", "fit", "fit_centroids"]


class Centroids(nn.Module):
    """Classify by the nearest of K class means among directions (SimpleShot, arXiv 1911.04623).

    Logits are minus the squared distances over a temperature. A class without training rows is never the answer; a row
    that has nothing gets the classes' shares of the training rows.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) log-probabilities
    """

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.directions = Directions(dims)
        self.register_buffer("centroids", torch.zeros(n_classes, sum(dims.values())))
        self.register_buffer("shares", torch.full((n_classes,), 1 / n_classes))
        self.register_buffer("temperature", torch.ones(()))

    def logits(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Return minus the squared distances, less what is the same for all classes, (B, K)."""
        centroids = self.get_buffer("centroids")
        return 2 * self.directions(inputs, present) @ centroids.T - centroids.square().sum(1)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        shares = self.get_buffer("shares")
        logits = self.logits(inputs, present) / self.get_buffer("temperature")
        answers = logits.masked_fill(shares == 0, -torch.inf).log_softmax(1)
        has_any = torch.stack([present[name] for name in self.directions.modalities]).any(0)
        return torch.where(has_any[:, None], answers, shares.log()).clamp_min(LEAST_LOG_PROBABILITY)


@dataclass(frozen=True)
class CentroidsFit:
    """The head, and the temperature that its validation rows chose."""

    module: Centroids
    temperature: float


@torch.no_grad()
def fit_centroids(
    inputs: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    targets: Tensor,
    *,
    n_classes: int,
    train: Tensor,
    validation: Tensor,
    sample_weights: Tensor | None = None,
) -> CentroidsFit:
    """Return the class means of the training rows, with the temperature of least loss on the validation rows.

    Validation rows of classes that have no training rows say nothing of the temperature.

    Shape:
        inputs: {modality: (N, D_modality)} float32, standardised
        present: {modality: (N,)} bool
        targets: (N,) int64
        train, validation: (n,) int64
        sample_weights: (N,) float64, how often each row counts; None: once
    """
    module = Centroids({name: inputs[name].shape[1] for name in inputs}, n_classes=n_classes).to(targets.device).eval()
    module.directions.fit(inputs, present, train, weights=sample_weights)
    has_any = torch.stack([present[name] for name in inputs]).any(0)
    train = train[has_any[train]]
    weights = None if sample_weights is None else sample_weights[train]
    counts = torch.bincount(targets[train], weights, minlength=n_classes)
    centroids = module.get_buffer("centroids")
    directions = module.directions(*take_rows(inputs, present, train))
    directions = directions if weights is None else directions * weights.to(directions)[:, None]
    centroids.index_add_(0, targets[train], directions).div_(counts.where(counts > 0, 1)[:, None])
    module.get_buffer("shares").copy_(counts / counts.sum())
    is_seen = counts > 0
    validated = validation[is_seen[targets[validation]] & has_any[validation]]
    if len(validated):
        seen_positions = is_seen.cumsum(0) - 1  # of each class among those seen
        logits = module.logits(*take_rows(inputs, present, validated))[:, is_seen]
        weights = None if sample_weights is None else sample_weights[validated]
        module.get_buffer("temperature").fill_(fit_temperature(logits, seen_positions[targets[validated]], weights))
    return CentroidsFit(module, float(module.get_buffer("temperature")))


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:  # noqa: ARG001 - it is fitted alone
    """Return the head, not fitted (`heads.head_types`)."""
    return Centroids(description.dims, n_classes=description.n_classes)


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and nothing else that its description must say (`heads.head_types`)."""
    return fit_centroids(*rows.vectors_and_targets, **rows.sides).module, {}
