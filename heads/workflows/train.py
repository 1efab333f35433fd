"""Training, from a cache to a run folder: labels, split, every head, its scores, and the verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from cache import Cache
from cache.console.notes import PROGRESS
from cache.system.stray_bytes import open_csv
from heads.device import describe_device, find_device
from heads.experiment.augmentation import with_views
from heads.experiment.experiment import Experiment
from heads.experiment.findings.evaluation import Findings, find_out
from heads.experiment.guards import add_guards
from heads.experiment.late_fusion import Averaging, write_sweep
from heads.experiment.problem import Problem, pose
from heads.experiment.problem_notes import redraw_notes
from heads.experiment.pseudo_teacher import check_pseudo_labels
from heads.experiment.pseudo_training import (
    PseudoFinding,
    choose,
    train_with_pseudo_labels,
    write_pseudo_labels,
)
from heads.experiment.trained_heads import SIDES, Roster, train_heads
from heads.json_file import write_json
from heads.reports.report_settings import ReportSettings, choose_columns
from heads.runs.encoder_samples import EncoderSamples, samples_of, save_encoder_samples
from heads.runs.folder import reserved, write_answers, write_run
from heads.runs.run_files import write_manifest
from heads.runs.run_report import RunReport
from heads.settings import TrainSettings
from heads.tracking.run_records import run_of_training
from heads.tracking.trackers import check_trackers, track

__all__ = ["train"]

log = logging.getLogger("embed_once")


def train(
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: TrainSettings | None = None,
    runs_path: str | Path = "runs",
    name: str | None = None,
    command: Sequence[str] | None = None,
    report: ReportSettings | None = None,
    trackers: Sequence[str] = (),
    sizes: Mapping[str, TrainSettings] | None = None,
) -> RunReport:
    """Train every modality alone and the fusions asked for, write a run folder, and return what was found.

    The test rows are used once, when all heads are trained. With `report` a page on it all is put into the folder last,
    and then `trackers` are told of the run: should either fail, the run is whole without it. With `sizes`
    (`heads.settings.SIZES`) all heads are trained in these sizes, too, on the same rows, beside those of the settings.

    Raises:
        CacheError: the cache cannot be read, or lacks a modality.
        LabelError, SplitError, SettingError, HeadError, RunError: what was asked for cannot be done.
        TrackError: a tracker failed; the run is written, and the error has the report.
    """
    settings = settings or TrainSettings()
    started = time.monotonic()
    with reserved(Path(runs_path), name):
        check_trackers(trackers)
        find_device(settings.device)  # before all is read
        with Cache(cache_path) as cache:
            columns = choose_columns(cache, report or ReportSettings())
            problem = _pose(cache, settings)
            samples = samples_of(cache, problem.combinations[0])
        experiment = Experiment.of(problem, settings, sides=SIDES, n_resamples=settings.n_resamples)
        roster, pseudo = _train(experiment, settings, sizes)
        findings = find_out(roster, settings)
        averaging = roster.trained["late"].averaging if "late" in roster.trained else None
        mixture = averaging.mixture if averaging else None
        config = {
            "command": list(command) if command else None,
            "cache": str(cache_path),
            "settings": asdict(settings),
            **({"sizes": {size: _changed_settings(sized, settings) for size, sized in sizes.items()}} if sizes else {}),
            "late_weights": dict(mixture.weights if mixture else experiment.weighting.fixed),
            **_origin(roster, experiment),
        }
        run_path = write_run(
            Path(runs_path),
            name,
            problem.labels.column,
            lambda folder: _write(
                folder, roster, config=config, findings=findings, averaging=averaging, samples=samples, pseudo=pseudo
            ),
        )
    run_report = RunReport(
        run_path=run_path,
        label=problem.labels.column,
        n_classes=len(problem.labels.classes),
        n_rows={side: len(getattr(roster.split, side)) for side in SIDES},
        encoders=roster.vectors.encoders,
        untrained=roster.vectors.untrained,
        weights=mixture.weights if mixture else {},
        weight_intervals=mixture.intervals if mixture else {},
        sweep=averaging.validation_points if averaging else [],
        metrics=findings.metrics,
        controls=findings.controls,
        verdicts=findings.verdicts,
        missing=findings.missing,
        notes=_notes(roster, pseudo),
        elapsed_s=time.monotonic() - started,
        sizes=findings.sizes,
        pseudo_labels=pseudo,
    )
    if report is not None:
        log.log(PROGRESS, "The run is in %s; its report follows.", run_path)
        from heads.reports.train_page import write_report  # matplotlib, Jinja2 and Pillow take half a second

        report_path = write_report(
            run_report, roster, findings, averaging, config=config, columns=columns, settings=report
        )
        run_report = replace(run_report, report_path=report_path, elapsed_s=time.monotonic() - started)
    track(trackers, run_of_training(run_report, settings), report=run_report)
    return run_report


def _pose(cache: Cache, settings: TrainSettings) -> Problem:
    """Return the problem, with its views if they are asked for, and with notes on classes that are drawn again."""
    problem = pose(cache, settings)
    for note in redraw_notes(problem.labels, problem.folds, [settings.per_class]):
        log.info(note)
        problem.notes.append(note)
    return with_views(cache, problem, memory=settings.memory) if settings.views else problem


def _train(
    experiment: Experiment, settings: TrainSettings, sizes: Mapping[str, TrainSettings] | None
) -> tuple[Roster, PseudoFinding | None]:
    """Train the heads, with guards and pseudo-labels where asked for; return them, and what came of pseudo-labels."""
    choice = None
    if settings.pseudo_label:
        check_pseudo_labels(experiment)
        choice = choose(experiment, seed=settings.seed)  # first, as it may fail
    roster, pseudo = train_heads(experiment, settings, sizes=sizes), None
    if choice:
        retrained, pseudo = train_with_pseudo_labels(roster, experiment, settings, choice, sizes=sizes)
        roster = retrained if retrained and pseudo.is_kept else roster
    if settings.guard:
        add_guards(roster, seed=settings.seed)
    return roster, pseudo


def _notes(roster: Roster, pseudo: PseudoFinding | None) -> list[str]:
    return [*([pseudo.sentence] if pseudo else []), *roster.problem.notes, *roster.remarks]


def _changed_settings(sized: TrainSettings, settings: TrainSettings) -> dict:
    """Return those settings of a size that differ from the run's."""
    return {name: value for name, value in asdict(sized).items() if value != getattr(settings, name)}


def _origin(roster: Roster, experiment: Experiment) -> dict:
    """Return what a run was trained from and on, for its config.json."""
    problem = roster.problem
    return {
        "cache_content_sha256": problem.content_sha256,
        "label": problem.labels.column,
        "classes": problem.labels.classes,
        "heads": list(roster.saved),
        "encoders": roster.vectors.encoders,
        "untrained_encoders": roster.vectors.untrained,
        "split": {side: problem.ids_of(getattr(roster.split, side)) for side in SIDES},
        "trained_on": describe_device(experiment.device, experiment.dtype),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }


def _write(
    folder: Path,
    roster: Roster,
    *,
    config: dict,
    findings: Findings,
    averaging: Averaging | None,
    samples: Mapping[str, EncoderSamples],
    pseudo: PseudoFinding | None,
) -> None:
    """Write the run's files into its folder."""
    problem, test = roster.problem, roster.split.test
    write_json(folder / "config.json", config)
    if problem.corrections:
        problem.corrections.write(folder)
    metrics = {
        "heads": findings.metrics,
        "controls": findings.controls,
        "verdicts": [verdict.to_dict() for verdict in findings.verdicts],
        "missing": findings.missing,
        "late": asdict(averaging.mixture) if averaging else None,
        "notes": _notes(roster, pseudo),
        **({"sizes": [asdict(size) for size in findings.sizes]} if findings.sizes else {}),
        **({"pseudo_labels": asdict(pseudo)} if pseudo else {}),
    }
    write_json(folder / "metrics.json", metrics)
    if problem.pseudo_labels is not None:
        write_pseudo_labels(folder, problem)
    if averaging and averaging.validation_points:
        write_sweep(folder / "sweep.csv", averaging, findings.sweep)
    with open_csv(folder / "predictions.csv") as file:
        write_answers(
            file,
            problem.ids_of(test),
            findings.answers,
            problem.labels.classes,
            labels=[problem.labels.classes[code] for code in problem.labels.targets[test]],
        )
    for head in roster.saved.values():
        head.save(folder, golden=roster.vectors, golden_rows=test)
    save_encoder_samples(folder, samples)
    write_manifest(folder)
