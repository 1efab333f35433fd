"""The ablation: every head, on every choice of encoders, with every setting asked for, on the same folds."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cache import Cache
from cache.console.notes import PROGRESS
from cache.workers.engines import find_engine
from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.distinct_settings import DistinctSettings, idle_notes
from heads.ablation.dropped import Dropped
from heads.ablation.engines.registry import ENGINES
from heads.ablation.grid import Range, span
from heads.ablation.job_runner import JobRunner, Watcher
from heads.ablation.race import Race
from heads.ablation.ranking import Ranking, rank
from heads.data.draws import generator_of
from heads.device import find_device
from heads.experiment.configuration import Configuration, configurations_of
from heads.experiment.experiment import Experiment
from heads.experiment.problem import pose
from heads.experiment.problem_notes import redraw_notes
from heads.experiment.result_store import ENGINE_VERSION, ResultCache
from heads.head_types import head_type
from heads.runs.ablation_folder import fill_ablation, write_ablation
from heads.runs.ablation_report import AblationReport
from heads.runs.finished_ablations import COMMAND, FinishedAblations
from heads.runs.folder import write_page
from heads.tracking.run_records import run_of_ablation
from heads.tracking.trackers import check_trackers, track

if TYPE_CHECKING:
    from heads.reports.ablation_page import AblationPage

__all__ = ["ablate_anew"]

log = logging.getLogger("embed_once")


def ablate_anew(
    cache_path: str | Path,
    settings: AblationSettings,
    *,
    runs_path: Path,
    name: str | None,
    memo_path: Path,
    command: Sequence[str] | None,
    watcher: Watcher | None,
    with_report: bool,
    trackers: Sequence[str],
    finished: FinishedAblations | None,
    started: float,
) -> AblationReport:
    """Do an ablation, as `heads.ablate` says, train the jobs that the memo lacks, and have `finished` keep the results.

    `started` is when it began, by `time.monotonic`.
    """
    check_trackers(trackers)
    engine_kind = find_engine(ENGINES, settings.engine)
    local_settings = settings if engine_kind.trains_here else replace(settings, device="cpu")
    find_device(local_settings.device)  # fails before the cache is read
    with Cache(cache_path) as cache:
        problem = pose(cache, settings)
    experiment = Experiment.of(problem, local_settings, sides=("validation", "test"))
    with ResultCache(memo_path) as result_cache, engine_kind.open(experiment, Path(cache_path), settings) as engine:
        runner = JobRunner(
            experiment, result_cache, engine=engine, seeds=settings.seeds, watcher=watcher, is_race=settings.race
        )
        configurations, dropped = _try_all(runner, settings)
        digests = runner.digests() if finished else {}
        trained_on = dict(engine.trained_on)
    ranking = rank(
        problem,
        {configuration: runner.done_jobs(configuration) for configuration in configurations},
        runner.outcomes,
        dropped=dropped,
        n_resamples=settings.n_resamples,
        generator=generator_of(settings.split_seed, "bootstrap"),
        margin=settings.margin / 100,
    )
    config = _config(
        experiment, settings, ranking, cache_path=cache_path, command=command, trained_on=trained_on, notes=runner.notes
    )
    run_path = write_ablation(runs_path, name, runner=runner, ranking=ranking, config=config)
    page = None
    if with_report:
        from heads.reports.ablation_page import AblationPage  # matplotlib and Jinja2 take half a second

        page = AblationPage(runner, ranking)
        write_page(run_path, page.render(runner, config))
    report = _report(runner, ranking, settings, run_path=run_path, memo_path=memo_path, started=started)
    track(trackers, run_of_ablation(report, settings), report=report)
    if finished:
        _keep(finished, report, runner, config, page, jobs=digests)
    return report


def _report(
    runner: JobRunner, ranking: Ranking, settings: AblationSettings, *, run_path: Path, memo_path: Path, started: float
) -> AblationReport:
    problem = runner.problem
    return AblationReport(
        run_path=run_path,
        memo_path=memo_path,
        label=problem.labels.column,
        n_classes=len(problem.labels.classes),
        n_tested=len(problem.test_rows),
        n_folds=len(problem.folds),
        seeds=settings.seeds,
        encoders=problem.encoders,
        untrained=problem.untrained,
        n_jobs=runner.n_jobs,
        n_trained=runner.n_trained,
        n_failed=runner.n_failed,
        n_again=runner.n_again,
        ranking=ranking,
        is_late_fitted=runner.is_late_fitted,
        notes=runner.notes,
        elapsed_s=time.monotonic() - started,
    )


def _keep(
    finished: FinishedAblations,
    report: AblationReport,
    runner: JobRunner,
    config: Mapping[str, Any],
    page: AblationPage | None,
    *,
    jobs: Mapping[str, str | None],
) -> None:
    """Have an ablation kept as it is to be told when the same is asked for again, with nothing trained."""
    remembered, config = runner.as_remembered(), {**config, "command": [COMMAND]}

    def fill(folder: Path) -> None:
        fill_ablation(folder, runner=remembered, ranking=report.ranking, config=config)
        if page:
            write_page(folder, page.render(remembered, config))

    finished.remember(replace(report, n_trained=0, n_again=0), jobs=jobs, fill=fill)


def _try_all(
    runner: JobRunner, settings: AblationSettings
) -> tuple[list[Configuration], Mapping[Configuration, Dropped]]:
    """Run every configuration of the grid or of the search, and return all, and those that a race dropped."""
    problem = runner.problem
    if settings.n_trials is not None:
        from heads.ablation.search import search

        return search(runner, settings.grid, n_trials=settings.n_trials, seed=settings.split_seed), {}
    axes = {name: values for name, values in settings.grid.items() if not isinstance(values, Range)}
    fusions = problem.fusions
    if settings.race:
        ensembles = [name for name in fusions if head_type(name).averages_fusions]
        fusions = tuple(name for name in fusions if name not in ensembles)
        for name in ensembles:
            log.info("%s is left out of the race: it needs all other heads on all folds.", name)
    distinct = DistinctSettings(runner.plain_settings)
    fit_settings = [distinct.representative(combination) for combination in span(axes)]
    configurations = configurations_of(fusions, problem.combinations, fit_settings)
    redrawn = redraw_notes(problem.labels, problem.folds, {chosen.per_class for chosen in fit_settings})
    runner.note([*distinct.notes(), *idle_notes(axes, configurations), *redrawn])
    log.log(
        PROGRESS,
        "%d configurations × %d folds × %d seeds: %d jobs" + (" at most" if settings.race else ""),
        len(configurations),
        len(problem.folds),
        len(settings.seeds),
        sum(len(runner.jobs_of(configuration)) for configuration in configurations),
    )
    if settings.race:
        race = Race(runner, configurations, seed=settings.split_seed)
        race.run()
        return configurations, race.dropped
    runner.run(configurations)
    return configurations, {}


def _config(
    experiment: Experiment,
    settings: AblationSettings,
    ranking: Ranking,
    *,
    cache_path: str | Path,
    command: Sequence[str] | None,
    trained_on: Mapping[str, str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return the content of ``ablation.json``: all that is needed to do it again, and the verdict."""
    problem, weighting = experiment.problem, experiment.weighting
    grid = {name: str(values) if isinstance(values, Range) else list(values) for name, values in settings.grid.items()}
    return {
        "command": list(command) if command else None,
        "cache": str(cache_path),
        "cache_content_sha256": problem.content_sha256,
        "encoders": problem.fingerprints,
        "untrained_encoders": problem.untrained,
        "label": problem.labels.column,
        "classes": problem.labels.classes,
        "fusions": list(problem.fusions),
        "late_weights": weighting.fitted or dict(weighting.fixed),
        "settings": {**asdict(settings), "grid": grid},
        "split": [{side: problem.ids_of(rows) for side, rows in vars(fold).items()} for fold in problem.folds],
        "verdict": ranking.verdict.to_dict() if ranking.verdict else None,
        "notes": list(notes),
        "trained_on": dict(trained_on),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "engine": ENGINE_VERSION},
    }
