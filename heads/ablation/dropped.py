"""A configuration that a race dropped: after how many folds, behind whom, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

from heads.ablation.naming import Naming
from heads.experiment.configuration import Configuration
from heads.metrics.differences import Difference

__all__ = ["Dropped"]


@dataclass(frozen=True)
class Dropped:
    """Why a configuration was dropped: over these folds both were trained, and no other is compared."""

    n_folds: int
    behind: Configuration  # the best on these folds, of the single modalities or of the fusions
    difference: Difference  # in macro-F1 on the validation rows; the interval is of what all folds would come to

    def in_words(self, naming: Naming) -> str:
        """Return after how many folds, behind whom and by how much."""
        folds = f"{self.n_folds} fold{'s' if self.n_folds > 1 else ''}"
        return f"after {folds}: validation macro-F1 {self.difference} against {naming.name(self.behind)}"
