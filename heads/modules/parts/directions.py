"""Directions: vectors centred on the training rows' mean and scaled to length 1, as cosine similarity sees them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.modules.parts.standardiser import concatenate

__all__ = ["Directions"]


class Directions(nn.Module):
    """Centre the concatenation of all modalities and scale it to length 1 (CL2N of arXiv 1911.04623).

    An absent modality counts as its mean: it is zeros. A row that has nothing is zeros altogether.

    Shape:
        inputs: {modality: (B, D_modality)} float32
        present: {modality: (B,)} bool
        output: (B, D) float32, D the sum of all D_modality
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        for modality in self.modalities:
            self.register_buffer(f"mean_{modality}", torch.zeros(dims[modality]))

    def fit(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        rows: Tensor,
        *,
        weights: Tensor | None = None,
    ) -> Directions:
        """Take the means of the rows given, where the modality is present; return self.

        Shape:
            weights: (N,) float64, how often each row counts; None: once
        """
        for modality in self.modalities:
            rows_with = rows[present[modality][rows]]
            if not len(rows_with):
                continue
            vectors = inputs[modality][rows_with]
            if weights is None:
                mean = vectors.mean(0, dtype=torch.float64)
            else:
                mean = weights[rows_with] @ vectors.double() / weights[rows_with].sum()
            self.get_buffer(f"mean_{modality}").copy_(mean)
        return self

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        centred = {modality: inputs[modality] - self.get_buffer(f"mean_{modality}") for modality in self.modalities}
        return F.normalize(concatenate(centred, present, self.modalities), dim=1)
