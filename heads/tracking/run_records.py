"""A training and an ablation as runs for trackers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.grid import Range
from heads.ablation.naming import Naming
from heads.ablation.ranking import Ranked
from heads.metrics.registry import METRICS
from heads.runs.ablation_report import AblationReport
from heads.runs.run_report import RunReport
from heads.settings import TrainSettings
from heads.tracking.trackers import TrackedRun

__all__ = ["run_of_ablation", "run_of_training"]

CURVES = ("train_loss", "validation_loss", "validation_macro_f1")


def run_of_training(report: RunReport, settings: TrainSettings) -> TrackedRun:
    """Return one run with every head's curves and final scores, such as ``early/test/macro_f1``; controls are heads."""
    heads = {**report.metrics, **report.controls}
    metrics: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    for head, measured in heads.items():
        metrics |= {f"{head}/test/{score}": measured[score] for score in METRICS}
        metrics |= {f"{head}/validation/{score}": value for score, value in measured["validation"].items()}
        metrics[f"{head}/seconds"] = measured["fit_s"]
        if measured["history"]:
            metrics[f"{head}/best_epoch"] = measured["best_epoch"]
            curves |= {f"{head}/{name}": [epoch[name] for epoch in measured["history"]] for name in CURVES}
    metrics |= {f"late/weight/{modality}": weight for modality, weight in report.weights.items()}
    tags = {f"verdict/{verdict.fusion}": verdict.sentence for verdict in report.verdicts}
    return TrackedRun(
        name=report.run_path.name,
        parameters={**_flat(asdict(settings)), **_flat({"label": report.label, "encoders": report.encoders})},
        metrics=metrics,
        curves=curves,
        tags={"run_folder": str(report.run_path.resolve()), **tags},
    )


def run_of_ablation(report: AblationReport, settings: AblationSettings) -> TrackedRun:
    """Return a run with a child for each configuration: its mean scores over folds and seeds, the best first."""
    folder = str(report.run_path.resolve())
    verdict = report.ranking.verdict
    requested = {name: value for name, value in asdict(settings).items() if name != "grid"}  # asdict takes ranges apart
    grid = {name: str(values) if isinstance(values, Range) else values for name, values in settings.grid.items()}
    naming = report.naming
    return TrackedRun(
        name=report.run_path.name,
        parameters={**_flat(requested), **_flat({"grid": grid, "label": report.label, "encoders": report.encoders})},
        metrics={"jobs": report.n_jobs, "failed_jobs": report.n_failed, "configurations": len(report.ranking.rows)},
        tags={"run_folder": folder, **({"verdict": verdict.sentence} if verdict else {})},
        children=[
            _configuration_run(rank, row, naming, report.run_path.name, folder)
            for rank, row in enumerate(report.ranking.rows, start=1)
        ],
    )


def _configuration_run(rank: int, row: Ranked, naming: Naming, run_name: str, folder: str) -> TrackedRun:
    configuration = row.configuration
    settings = {name: getattr(configuration.settings, name) for name in configuration.used}
    metrics: dict[str, float] = {"place": rank, "jobs": row.n_jobs, "failed_jobs": row.n_failed}
    metrics["seconds"] = row.elapsed_s
    for name, spread in (
        ("validation/macro_f1", row.validation), ("test/accuracy", row.accuracy), ("test/macro_f1", row.macro_f1)
    ):  # fmt: skip
        if spread is not None:
            metrics[name] = spread.mean
            if spread.deviation is not None:
                metrics[f"{name}_deviation"] = spread.deviation
    for name, difference in (("accuracy", row.accuracy_difference), ("macro_f1", row.macro_f1_difference)):
        if difference is not None:
            ends = (("", difference.value), ("_low", difference.low), ("_high", difference.high))
            metrics |= {f"test/{name}_difference{end}": value for end, value in ends}
    return TrackedRun(
        name=f"{run_name}-{rank:03}-{configuration.head}",
        parameters=_flat({"head": configuration.head, "encoders": dict(configuration.encoders), **settings}),
        metrics=metrics,
        tags={
            "run_folder": folder,
            "configuration": naming.name(configuration),
            **({"error": row.error} if row.error else {}),
            **({"dropped": row.dropped.in_words(naming)} if row.dropped else {}),
        },
    )


def _flat(values: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return settings as trackers take them: a list is a text, a mapping has a name for each part, None is left out."""
    return dict(_leaves("", values))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str | int | float | bool]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(f"{name}/{key}" if name else str(key), part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield name, ",".join(map(str, value))
    elif value is not None:
        yield name, value
