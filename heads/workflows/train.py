"""Training, from a cache to a run folder: labels, split, every head, its scores, and the verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from cache import Cache
from cache.console.notes import PROGRESS
from heads.data.memory_budget import memory_bytes
from heads.device import describe_device, find_device, find_dtype
from heads.errors import HeadError
from heads.experiment.evaluation import Findings, find_out
from heads.experiment.late_weights import Averaging, choose_averaging, write_sweep
from heads.experiment.problem import describe, fitted_standardise, pose, task_of
from heads.experiment.trained_heads import Roster
from heads.head_types import head_type
from heads.modules.guard import GUARD, Guarded, fit_guard
from heads.modules.late import Late, parse_weights
from heads.modules.saved_head import write_json
from heads.reports.report_settings import ReportSettings, choose_columns
from heads.runs.folder import check_name, write_answers, write_run
from heads.runs.run_report import RunReport
from heads.settings import FITTED_WEIGHTS, TrainSettings
from heads.tracking.run_records import run_of_training
from heads.tracking.trackers import check_trackers, track
from heads.training.job import Fit, Job, Task
from heads.training.scheduler import fit_jobs

__all__ = ["train"]

log = logging.getLogger("embed_once")
SIDES = ("train", "validation", "test")


def train(
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: TrainSettings | None = None,
    runs_path: str | Path = "runs",
    name: str | None = None,
    command: Sequence[str] | None = None,
    report: ReportSettings | None = None,
    trackers: Sequence[str] = (),
) -> RunReport:
    """Train every modality alone and the fusions asked for, write a run folder, and return what was found.

    The test rows are looked at once, when all heads are done. With `report` a page on it all is put into the folder
    last, and `trackers` are told of the run: should that fail, the run is whole without it.

    Raises:
        CacheError: the cache cannot be read, or lacks a modality.
        LabelError, SplitError, SettingError, HeadError, RunError: what was asked for cannot be done.
        TrackError: a tracker failed; the run is written, and the error has the report.
    """
    settings = settings or TrainSettings()
    started = time.monotonic()
    check_name(Path(runs_path), name)
    check_trackers(trackers)
    with Cache(cache_path) as cache:
        columns = choose_columns(cache, report or ReportSettings())
        problem = pose(cache, settings)
    given = None if settings.weights in FITTED_WEIGHTS else settings.weights
    weights = parse_weights(given, list(problem.vectors.dims))
    standardise = fitted_standardise(problem.vectors, problem.split)
    task = task_of(problem.vectors, standardise, problem.labels.codes, problem.split)
    roster = Roster(problem, standardise)
    _fit_plain(roster, task, settings)
    averaging = _fit_late(roster, settings, weights) if "late" in problem.fusions else None
    if settings.guard:
        _fit_guards(roster, settings)
    findings = find_out(roster, settings)
    mixture = averaging.mixture if averaging else None
    config = {
        "command": list(command) if command else None,
        "cache": str(cache_path),
        "settings": asdict(settings),
        "late_weights": mixture.weights if mixture else weights,
        **_about(roster, settings),
    }
    run_path = write_run(
        Path(runs_path),
        name,
        problem.labels.column,
        lambda folder: _write(folder, roster, config=config, findings=findings, averaging=averaging),
    )
    found = RunReport(
        run_path=run_path,
        label=problem.labels.column,
        n_classes=len(problem.labels.classes),
        n_rows={side: len(getattr(problem.split, side)) for side in SIDES},
        encoders=problem.vectors.encoders,
        untrained=problem.vectors.untrained,
        weights=mixture.weights if mixture else {},
        weight_intervals=mixture.intervals if mixture else {},
        sweep=averaging.validation_points if averaging else [],
        metrics=findings.metrics,
        controls=findings.controls,
        verdicts=findings.verdicts,
        missing=findings.missing,
        notes=problem.notes,
        elapsed_s=time.monotonic() - started,
    )
    if report is not None:
        log.log(PROGRESS, "The run is in %s; its report follows.", run_path)
        from heads.reports.train_page import write_report  # matplotlib, Jinja2 and Pillow take half a second

        report_path = write_report(found, roster, findings, averaging, config=config, columns=columns, settings=report)
        found = replace(found, report_path=report_path, elapsed_s=time.monotonic() - started)
    track(trackers, run_of_training(found, settings), report=found)
    return found


def _about(roster: Roster, settings: TrainSettings) -> dict:
    """Return what a run was trained from and on, for its config.json."""
    problem, device = roster.problem, find_device(settings.device)
    return {
        "cache_content_sha256": problem.content_sha256,
        "label": problem.labels.column,
        "classes": problem.labels.classes,
        "heads": list(roster.saved),
        "encoders": problem.vectors.encoders,
        "untrained_encoders": problem.vectors.untrained,
        "split": {side: problem.ids_of(getattr(problem.split, side)) for side in SIDES},
        "trained_on": describe_device(device, find_dtype(settings.precision, device)),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }


def _fit_plain(roster: Roster, task: Task, settings: TrainSettings) -> None:
    """Fit each modality alone, the fusions that are trained as a whole, and the controls."""
    problem = roster.problem
    names = [name for name in (*problem.vectors.dims, *problem.fusions) if name != "late"]
    controls = [name for name in settings.controls if name not in names]
    n_classes = len(problem.labels.classes)
    jobs = [
        Job(describe(name, problem.vectors, n_classes=n_classes, settings=settings, weights={}), task, settings)
        for name in (*names, *controls)
    ]
    device = find_device(settings.device)
    dtype = find_dtype(settings.precision, device)
    found: dict[int, Fit | HeadError] = {}
    for place, fit in fit_jobs(jobs, device=device, dtype=dtype, memory=memory_bytes(settings.memory)):
        found[place] = fit
        if isinstance(fit, HeadError) and place < len(names):
            raise fit
        if isinstance(fit, Fit) and fit.history:
            epochs = f"{len(fit.history)} epochs, the best was {fit.best_epoch}"
            log.log(PROGRESS, "%s: %s, %.1f s", fit.description.name, epochs, fit.elapsed_s)
    for place in range(len(jobs)):
        fit = found[place]
        if isinstance(fit, HeadError):
            log.info("A control is left out: %s", fit)
        else:
            roster.add(fit, is_control=place >= len(names))


def _fit_late(roster: Roster, settings: TrainSettings, weights: dict[str, float]) -> Averaging:
    """Make late fusion of the single heads."""
    problem = roster.problem
    started = time.monotonic()
    averaging = choose_averaging(
        settings.weights,
        {name: roster.log_probabilities[name] for name in roster.singles},
        problem,
        weights=weights,
        generator=np.random.default_rng(settings.seed),
        n_resamples=settings.n_resamples,
    )
    mixture = averaging.mixture
    module = Late(
        {name: roster.heads[name].module for name in roster.singles},
        weights=mixture.weights,
        temperatures=mixture.temperatures,
        temperature=mixture.temperature,
    )
    n_classes = len(problem.labels.classes)
    description = describe("late", problem.vectors, n_classes=n_classes, settings=settings, weights=mixture.weights)
    members_s = sum(roster.fits[name].elapsed_s for name in roster.singles)
    roster.add(Fit(module.eval(), description, 0, [], members_s + time.monotonic() - started))
    return averaging


def _fit_guards(roster: Roster, settings: TrainSettings) -> None:
    """Put a guarded fusion beside each."""
    problem = roster.problem
    rows = torch.from_numpy(problem.split.validation)
    present = {name: mask[rows] for name, mask in problem.vectors.present.items()}
    singles = {name: roster.heads[name].module for name in roster.singles}
    for name in [name for name in roster.fusions if not head_type(name).at_once]:
        started = time.monotonic()
        fusion = deepcopy(roster.heads[name].module)  # late is made of the singles, and no two tensors may be one
        guarded = Guarded(fusion, singles).eval()
        what = fit_guard(
            guarded,
            {own: roster.log_probabilities[own][rows] for own in (name, *singles)},
            present,
            torch.from_numpy(problem.labels.codes)[rows],
            fusion=name,
            best=roster.best_single,
            groups=torch.from_numpy(problem.groups)[rows],
            generator=np.random.default_rng(settings.seed),
        )
        if what.startswith("single"):
            log.info(
                "%s%s answers as %s alone does: on the validation rows %s is no better.",
                name,
                GUARD,
                roster.best_single,
                name,
            )
        elapsed_s = roster.fits[name].elapsed_s + time.monotonic() - started
        description = replace(roster.heads[name].description, name=name + GUARD)
        roster.add(Fit(guarded, description, 0, [], elapsed_s))


def _write(folder: Path, roster: Roster, *, config: dict, findings: Findings, averaging: Averaging | None) -> None:
    """Write the run's files."""
    problem, test = roster.problem, roster.problem.split.test
    write_json(folder / "config.json", config)
    found = {
        "heads": findings.metrics,
        "controls": findings.controls,
        "verdicts": [verdict.to_dict() for verdict in findings.verdicts],
        "missing": findings.missing,
        "late": asdict(averaging.mixture) if averaging else None,
        "notes": problem.notes,
    }
    write_json(folder / "metrics.json", found)
    if averaging and averaging.validation_points:
        write_sweep(folder / "sweep.csv", averaging, findings.sweep)
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        write_answers(
            file,
            problem.ids_of(test),
            {name: roster.probabilities(name, "test") for name in roster.heads},
            problem.labels.classes,
            answered={
                name: problem.vectors.some_present(head.description.dims)[test] for name, head in roster.heads.items()
            },
            labels=[problem.labels.classes[code] for code in problem.labels.codes[test]],
        )
    for head in roster.saved.values():
        head.save(folder, golden=problem.vectors, golden_rows=test)
