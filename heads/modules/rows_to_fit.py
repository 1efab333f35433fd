"""What a head that is fitted at once is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

__all__ = ["RowsToFit"]


@dataclass(frozen=True)
class RowsToFit:
    """N rows with their classes; the training rows are learned from, and the validation rows choose.

    Shape:
        inputs: {modality: (N, D_modality)} float32, standardised; none where the head needs no vectors
        present: {modality: (N,)} bool; likewise
        targets: (N,) int64
        train, validation: (n,) int64
        row_weights: (N,) float32, non-negative
    """

    name: str  # of the head
    dims: Mapping[str, int]  # modality -> D
    n_classes: int
    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor
    train: Tensor
    validation: Tensor
    row_weights: Tensor
    seed: int

    @property
    def data(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Tensor]:
        """Inputs, who has them, and the classes."""
        return self.inputs, self.present, self.targets
