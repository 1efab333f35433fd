"""What a head that is fitted at once is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

__all__ = ["RowsToFit", "take_rows"]


@dataclass(frozen=True)
class RowsToFit:
    """N rows with their classes; the training rows are learned from, and the validation rows choose.

    A row counts as often as its sample weight says, on both sides; a training row's loss is weighted by `row_weights`,
    in which the weights of classes are, too.

    Shape:
        inputs: {modality: (N, D_modality)} float32, standardised; none where the head needs no vectors
        present: {modality: (N,)} bool; likewise
        targets: (N,) int64
        train, validation: (n,) int64
        groups: (N,) int64, of rows that are copies of each other
        row_weights: (N,) float32, non-negative
        sample_weights: (N,) float64, positive; None: 1 each
        class_names: {modality: (K, D_modality)}, directions of their names (`heads.modules.parts.name_directions`)
    """

    name: str  # of the head
    dims: Mapping[str, int]  # modality -> D
    n_classes: int
    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor
    train: Tensor
    validation: Tensor
    groups: Tensor
    row_weights: Tensor
    sample_weights: Tensor | None
    seed: int
    class_names: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def vectors_and_targets(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Tensor]:
        """Inputs, where they are present, and targets: the first arguments of all that fits heads."""
        return self.inputs, self.present, self.targets

    @property
    def sides(self) -> dict[str, Any]:
        """The keyword arguments of all that fits heads: number of classes, rows of each side, and their weights."""
        return {
            "n_classes": self.n_classes,
            "train": self.train,
            "validation": self.validation,
            "sample_weights": self.sample_weights,
        }

    def on_cpu(self) -> RowsToFit:
        """Return the same on the CPU, where scikit-learn computes."""
        moved: dict[str, Any] = {name: value.cpu() for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved |= {
            name: {key: tensor.cpu() for key, tensor in getattr(self, name).items()}
            for name in ("inputs", "present", "class_names")
        }
        return replace(self, **moved)


def take_rows(
    inputs: Mapping[str, Tensor], present: Mapping[str, Tensor], rows: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return some rows of each modality, with which of them have it."""
    return {name: inputs[name][rows] for name in inputs}, {name: present[name][rows] for name in inputs}
