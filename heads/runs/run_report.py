"""The report of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from heads.experiment.findings.sizes import SizeFinding
from heads.experiment.pseudo_training import PseudoFinding
from heads.experiment.weight_sweep import SweepPoint
from heads.metrics.verdict import Verdict

__all__ = ["RunReport"]


@dataclass(frozen=True)
class RunReport:
    """What a training found, and where it is written."""

    run_path: Path
    label: str
    n_classes: int
    n_rows: dict[str, int]  # side of the split -> rows
    encoders: dict[str, str]
    untrained: list[str]  # the encoders whose weights are random
    weights: dict[str, float]  # of late fusion
    weight_intervals: dict[str, tuple[float, float]]  # where they were fitted
    sweep: list[SweepPoint]  # the validation scores of all weights, where they were swept
    metrics: dict[str, dict]  # head -> its scores on the test rows
    controls: dict[str, dict]  # the same of the controls
    verdicts: list[Verdict]
    missing: dict[str, dict[str, dict[str, float]]]  # the modalities that are present -> head -> scores
    notes: list[str]
    elapsed_s: float
    report_path: Path | None = None
    sizes: list[SizeFinding] = field(default_factory=list)  # where some are compared
    pseudo_labels: PseudoFinding | None = None  # where they were asked for
