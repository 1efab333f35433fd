"""An ablation that is stored in a result cache, and a runner that answers a race from it, without any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cache import Cache
from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.dropped import Dropped
from heads.ablation.grid import span
from heads.ablation.job_keys import JobKeys
from heads.data.splitting.splits import Split
from heads.device import describe_device
from heads.experiment.configuration import Configuration, FoldJob, configurations_of
from heads.experiment.experiment import Experiment
from heads.experiment.problem import Problem, pose
from heads.experiment.result_store import ResultCache
from heads.experiment.results import Outcome
from heads.metrics.scores import scores

__all__ = ["Stored", "StoredRunner"]


class Stored:
    """All outcomes of a full ablation, as its result cache has them."""

    def __init__(self, cache_path: Path, settings: AblationSettings, memo_path: Path) -> None:
        with Cache(cache_path) as cache:
            self.problem = pose(cache, settings)
        experiment = Experiment.of(self.problem, settings, sides=("validation", "test"))
        keys = JobKeys(experiment, trained_on=describe_device(experiment.device, experiment.dtype))
        self.configurations = configurations_of(self.problem.fusions, self.problem.combinations, span(settings.grid))
        self.outcomes: dict[FoldJob, Outcome] = {}
        with ResultCache(memo_path) as memo:
            for configuration in self.configurations:
                for job in configuration.jobs(n_folds=len(self.problem.folds), seeds=settings.seeds):
                    fold, n_classes = self.problem.folds[job.fold], len(self.problem.labels.classes)
                    rows = {"n_rows": len(fold.test), "n_validation": len(fold.validation)}
                    self.outcomes[job] = memo.get(keys.of(job), n_classes=n_classes, **rows)


class StoredRunner:
    """A runner that trains nothing: folds stand in another order, rows are drawn."""

    def __init__(self, stored: Stored, order: np.ndarray, *, generator: np.random.Generator | None) -> None:
        self.problem, rows_taken = shuffled(stored.problem, order, generator)
        self.outcomes: dict[FoldJob, Outcome] = {}
        self._all = {}
        targets, n_classes = self.problem.labels.targets, len(self.problem.labels.classes)
        for job, outcome in stored.outcomes.items():
            position = int(np.flatnonzero(order == job.fold)[0])
            answers = outcome.validation_predictions[rows_taken[position]]
            score = scores(targets[self.problem.folds[position].validation], answers, n_classes)
            self._all[job._replace(fold=position)] = Outcome(validation=score, validation_predictions=answers)

    def jobs_of(self, configuration: Configuration) -> list[FoldJob]:
        return configuration.jobs(n_folds=len(self.problem.folds), seeds=(0,))

    def done_jobs(self, configuration: Configuration) -> list[FoldJob]:
        return [job for job in self.jobs_of(configuration) if job in self.outcomes]

    def folds_at_once(self, _: list[Configuration], **__: int) -> int:
        return 1

    def has_failed(self, _: Configuration) -> bool:
        return False

    def tell_dropped(self, dropped: dict[Configuration, Dropped], line: str) -> None:
        pass

    def run(self, configurations: list[Configuration], *, folds: list[int]) -> None:
        self.outcomes |= {
            job: self._all[job]
            for configuration in configurations
            for job in self.jobs_of(configuration)
            if job.fold in folds
        }

    def mean(self, configuration: Configuration) -> float:
        """Return a configuration's score over all folds, trained or not."""
        return float(np.mean([self._all[job].validation["macro_f1"] for job in self.jobs_of(configuration)]))


def shuffled(
    problem: Problem, order: np.ndarray, generator: np.random.Generator | None
) -> tuple[Problem, list[np.ndarray]]:
    """Return the problem with its folds in another order and rows drawn by groups, and which of each fold's are taken.

    A group that is drawn twice is two groups.
    """
    folds = [problem.folds[fold] for fold in order]
    if generator is None:
        return replace(problem, folds=folds), [np.arange(len(fold.validation)) for fold in folds]
    n_rows = len(problem.groups)
    names = np.unique(problem.groups[np.concatenate([fold.validation for fold in folds])])
    times = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
    n_copies = int(times.max())
    times_of_rows = np.zeros(n_rows, dtype=np.int64)
    positions = np.searchsorted(names, problem.groups).clip(max=len(names) - 1)
    is_drawn = names[positions] == problem.groups
    times_of_rows[is_drawn] = times[positions[is_drawn]]
    rows_taken, drawn = [], []
    for fold in folds:
        rows = [np.flatnonzero(times_of_rows[fold.validation] > copy) for copy in range(n_copies)]
        rows_taken.append(np.concatenate(rows))
        validation = np.concatenate([fold.validation[fold_rows] + copy * n_rows for copy, fold_rows in enumerate(rows)])
        drawn.append(Split(train=fold.train, validation=validation, test=fold.test))
    groups = np.concatenate([problem.groups + copy * (problem.groups.max() + 1) for copy in range(n_copies)])
    labels = replace(problem.labels, targets=np.tile(problem.labels.targets, n_copies))
    return replace(problem, folds=drawn, groups=groups, labels=labels), rows_taken
