"""The run folder of an ablation: ``ranking.csv``, ``jobs.csv`` and ``ablation.json``, whole or not at all, and a page.

``ranking.csv`` has a row for each configuration, in the order of the ranking; ``jobs.csv`` a row for each job;
``ablation.json`` all that is needed to do it again; ``report.html``, put into it afterwards, shows it all. The cell of
a setting or a seed that makes no difference to a head is empty. A configuration that a race dropped has the reason
instead of a place and of scores, which would be of fewer folds than the others'. Shares are from 0 to 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.system.stray_bytes import open_csv
from heads.ablation.naming import Naming
from heads.ablation.ranking import Ranked, Ranking
from heads.experiment.configuration import AXES, Configuration, FoldJob
from heads.json_file import write_json
from heads.metrics.registry import METRICS
from heads.runs.folder import write_run

if TYPE_CHECKING:
    from heads.ablation.job_runner import JobRunner

__all__ = ["fill_ablation", "ranking_cells", "usual_name", "write_ablation"]


def write_ablation(
    runs_path: Path, name: str | None, *, runner: JobRunner, ranking: Ranking, config: Mapping[str, Any]
) -> Path:
    """Write the folder, and return where it is.

    Raises:
        RunError: there is a run of that name already, or the name is none for a folder.
    """

    def write(folder: Path) -> None:
        fill_ablation(folder, runner=runner, ranking=ranking, config=config)

    return write_run(runs_path, name, usual_name(runner.problem.labels.column), write)


def fill_ablation(folder: Path, *, runner: JobRunner, ranking: Ranking, config: Mapping[str, Any]) -> None:
    """Write the files of the folder, except the page."""
    modalities = list(runner.problem.encoders)
    jobs = [job for row in ranking.rows for job in runner.done_jobs(row.configuration)]
    _write_csv(folder / "ranking.csv", ranking_cells(ranking, modalities))
    _write_csv(folder / "jobs.csv", [_job_cells(job, runner, modalities) for job in jobs])
    write_json(folder / "ablation.json", config)
    if runner.problem.corrections:
        runner.problem.corrections.write(folder)


def usual_name(label: str) -> str:
    """Return the name of a folder, without its number."""
    return f"{label}-ablation"


def ranking_cells(ranking: Ranking, modalities: Sequence[str]) -> list[dict[str, object]]:
    """Return a row for each configuration, {column: cell}."""
    naming = Naming(row.configuration for row in ranking.rows)
    return [
        {"place": "" if row.dropped else rank, **_ranked_cells(row, modalities), **_dropped_cells(row, naming)}
        for rank, row in enumerate(ranking.rows, start=1)
    ]


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with open_csv(path) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _configuration_cells(configuration: Configuration, modalities: Iterable[str]) -> dict[str, object]:
    encoders = dict(configuration.encoders)
    cells: dict[str, object] = {"head": configuration.head}
    cells |= {f"{modality}_encoder": encoders.get(modality, "") for modality in modalities}
    for name in AXES:
        value = getattr(configuration.settings, name) if name in configuration.used else ""
        cells[name] = "all" if value is None else value  # per_class
    return cells


def _ranked_cells(row: Ranked, modalities: Iterable[str]) -> dict[str, object]:
    cells: dict[str, object] = {
        **_configuration_cells(row.configuration, modalities),
        "n_jobs": row.n_jobs,
        "n_failed": row.n_failed,
    }
    spreads = {"validation_macro_f1": row.validation, "accuracy": row.accuracy, "macro_f1": row.macro_f1}
    for name, spread in spreads.items():
        for part in ("mean", "deviation"):
            cells[f"{name}_{part}"] = getattr(spread, part) if spread else ""
    for name in ("accuracy_difference", "macro_f1_difference"):
        difference = getattr(row, name)
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high")):
            cells[name + end] = getattr(difference, part) if difference else ""
    for part, scored in row.apart.items():  # where there are placeholders
        for name in ("accuracy", "macro_f1"):
            cells[f"{name}_{part.replace(' ', '_')}"] = scored[name]
    return {**cells, "seconds": row.elapsed_s, "error": row.error or ""}


def _dropped_cells(row: Ranked, naming: Naming) -> dict[str, object]:
    difference_names = ("dropped_difference", "dropped_difference_low", "dropped_difference_high")
    names = ("dropped_after_folds", "dropped_behind", *difference_names)
    if not row.dropped:
        return dict.fromkeys(names, "")
    difference = row.dropped.difference
    cells = (row.dropped.n_folds, naming.name(row.dropped.behind), difference.value, difference.low, difference.high)
    return dict(zip(names, cells, strict=True))


def _job_cells(job: FoldJob, runner: JobRunner, modalities: Iterable[str]) -> dict[str, object]:
    outcome = runner.outcomes[job]
    by_side = {"test": outcome.test, "validation": outcome.validation}
    return {
        **_configuration_cells(job.configuration, modalities),
        "fold": job.fold,
        "seed": job.seed if job.configuration.is_seeded else "",
        **{f"{side}_{name}": scores.get(name, "") for side, scores in by_side.items() for name in METRICS},
        "best_epoch": outcome.best_epoch,
        "n_epochs": len(outcome.history),
        "seconds": outcome.elapsed_s,
        "source": "trained" if job in runner.trained else "remembered",
        "error": outcome.error or "",
    }
