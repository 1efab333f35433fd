"""The report of an ablation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heads.ablation.naming import Naming
from heads.ablation.ranking import Ranking
from heads.experiment.configuration import Configuration
from heads.runs.ablation_folder import ranking_cells

__all__ = ["AblationReport"]


@dataclass(frozen=True)
class AblationReport:
    """What an ablation found, and where it is written."""

    run_path: Path
    memo_path: Path
    label: str
    n_classes: int
    n_tested: int  # test rows of all folds
    n_folds: int
    seeds: tuple[int, ...]
    encoders: dict[str, list[str]]
    untrained: list[str]  # the encoders whose weights are random
    n_jobs: int
    n_trained: int
    n_failed: int
    n_again: int  # single heads that were trained again for a late fusion that was not remembered
    ranking: Ranking
    is_late_fitted: bool  # on the validation rows, which rank
    notes: list[str]
    elapsed_s: float

    @property
    def n_remembered(self) -> int:
        """How many jobs were trained by an ablation before."""
        return self.n_jobs - self.n_trained

    @property
    def n_dropped(self) -> int:
        """How many configurations a race dropped."""
        return sum(row.dropped is not None for row in self.ranking.rows)

    @property
    def naming(self) -> Naming:
        """Names for the configurations that were compared."""
        return Naming(row.configuration for row in self.ranking.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the report in JSON's types."""
        verdict, naming = self.ranking.verdict, self.naming

        def name(configuration: Configuration | None) -> str | None:
            return naming.name(configuration) if configuration else None

        plain = {key: value for key, value in vars(self).items() if key != "ranking"}
        return plain | {
            "run_path": str(self.run_path),
            "memo_path": str(self.memo_path),
            "n_remembered": self.n_remembered,
            "n_dropped": self.n_dropped,
            "ranking": ranking_cells(self.ranking, list(self.encoders)),
            "best_single": name(self.ranking.single),
            "best_fusion": name(self.ranking.fusion),
            "verdict": verdict.to_dict() if verdict else None,
        }
