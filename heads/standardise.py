"""Standardisation that is part of the head: fitted on training rows, saved with the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Standardise", "zero_absent"]

LEAST_SCALE = 0.01  # of the modality's mean scale, so that a dimension that hardly varies is not blown up


def zero_absent(inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vectors with zeros where a modality is absent, whatever stands there, NaN included.

    Shape:
        inputs, output: {modality: (B, D) float32}
        present: {modality: (B,) bool}
    """
    return {name: torch.where(present[name][:, None], vectors, 0.0) for name, vectors in inputs.items()}


class Standardise(nn.Module):
    """Subtract each dimension's mean and divide by its standard deviation; an absent vector becomes zeros.

    Shape:
        inputs: {modality: (B, D) float32}
        present: {modality: (B,) bool}
        output: {modality: (B, D) float32}
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        for modality in self.modalities:
            self.register_buffer(f"mean_{modality}", torch.zeros(dims[modality]))
            self.register_buffer(f"scale_{modality}", torch.ones(dims[modality]))

    @torch.no_grad()
    def fit(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor], rows: Tensor) -> Standardise:
        """Take the statistics of the rows given, where the modality is present; return self."""
        for modality in self.modalities:
            vectors = inputs[modality][rows[present[modality][rows]]]  # (n, D)
            if len(vectors) < 2:
                continue  # nothing to take them from: the identity stays
            scale, mean = torch.std_mean(vectors.double(), dim=0)
            # Where all are the same vector there is no scale to take.
            scale = scale.clamp_min(LEAST_SCALE * scale.mean()) if scale.any() else torch.ones_like(scale)
            self.get_buffer(f"mean_{modality}").copy_(mean)
            self.get_buffer(f"scale_{modality}").copy_(scale)
        return self

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        scaled = {
            modality: (inputs[modality] - self.get_buffer(f"mean_{modality}")) / self.get_buffer(f"scale_{modality}")
            for modality in self.modalities
        }
        return zero_absent(scaled, present)
