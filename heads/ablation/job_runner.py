"""The jobs of an ablation, remembered or trained, each once."""

from __future__ import annotations

import copy
import functools
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from cache.console.notes import PROGRESS
from heads.ablation.dropped import Dropped
from heads.ablation.engines.protocol import Engine, FinishedJob
from heads.ablation.job_keys import JobKeys
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.result_store import ResultCache
from heads.experiment.results import Outcome
from heads.head_types import head_type
from heads.settings import FitSettings

__all__ = ["JobRunner", "Watcher"]

LEAST_JOBS = 16  # trained at once: fewer leave cores idle

log = logging.getLogger("embed_once")


class Watcher(Protocol):
    """Whoever wants to know how far the jobs are."""

    def expect(self, n_jobs: int) -> None:
        """Hear that so many more jobs are wanted."""

    def note(self, job: FoldJob, outcome: Outcome, *, remembered: bool) -> None:
        """Hear what came of a job."""

    def drop(self, dropped: Mapping[Configuration, Dropped], line: str) -> None:
        """Hear who is dropped from a race after some folds, and that in words."""


class JobRunner:
    """Tries configurations: each job's outcome is looked up in the memo, or trained for and written there.

    Of jobs that train the same, by their keys, one is trained, and its outcome is that of all.

    Late fusion that the memo lacks needs the probabilities of its members, which the memo does not keep: members that
    are remembered are trained again. A race uses an outcome of the memo only if it has the answers to validation rows.
    """

    def __init__(
        self,
        experiment: Experiment,
        result_cache: ResultCache,
        *,
        engine: Engine,
        seeds: Sequence[int],
        watcher: Watcher | None = None,
        is_race: bool = False,
    ) -> None:
        self.problem = experiment.problem
        self.notes = list(experiment.problem.notes)  # and those of `note`
        self.outcomes: dict[FoldJob, Outcome] = {}
        self.trained: set[FoldJob] = set()
        self.n_again = 0  # members trained again for late fusion's sake
        self._waiting: dict[str, list[FoldJob]] = {}  # key -> the jobs with it, of which the first is trained
        self._experiment = experiment
        self._result_cache = result_cache
        self._engine = engine
        self._keys = JobKeys(experiment, trained_on=engine.trained_on)
        self._key_of = functools.cache(self._keys.of)
        self._seeds = seeds
        self._watcher = watcher
        self._is_race = is_race

    @property
    def n_jobs(self) -> int:
        """How many jobs there are, those that are the same counted as one."""
        return self._count(self.outcomes)

    @property
    def n_trained(self) -> int:
        """How many of them were trained."""
        return self._count(self.trained)

    @property
    def n_failed(self) -> int:
        """How many of them did not converge."""
        return self._count(job for job, outcome in self.outcomes.items() if outcome.error is not None)

    @property
    def is_late_fitted(self) -> bool:
        """Whether late fusion is there, with weights fitted on the validation rows."""
        is_fitted = self._experiment.weighting.fitted is not None
        return is_fitted and any(head_type(name).is_average for name in self.problem.fusions)

    def jobs_of(self, configuration: Configuration) -> list[FoldJob]:
        """Return the configuration's jobs, by seed and fold."""
        return configuration.jobs(n_folds=len(self.problem.folds), seeds=self._seeds)

    def done_jobs(self, configuration: Configuration) -> list[FoldJob]:
        """Return those of the configuration's jobs of which something came: all, unless it left a race."""
        return [job for job in self.jobs_of(configuration) if job in self.outcomes]

    def has_failed(self, configuration: Configuration) -> bool:
        """Whether some of its jobs did not converge."""
        return any(self.outcomes[job].error is not None for job in self.done_jobs(configuration))

    def tell_dropped(self, dropped: Mapping[Configuration, Dropped], line: str) -> None:
        """Tell who is dropped from a race."""
        if self._watcher:
            self._watcher.drop(dropped, line)
        else:
            log.log(PROGRESS, line)

    def as_remembered(self) -> JobRunner:
        """Return a runner with these outcomes, none of them trained: as when the same ablation is asked for again."""
        rerun = copy.copy(self)
        rerun.trained, rerun.n_again = set(), 0
        return rerun

    def digests(self) -> dict[str, str | None]:
        """Return the digest of each job's outcome in the memo, {key: digest}; None where the memo has none.

        Raises:
            MemoError: the memo cannot be read.
        """
        return {key: self._result_cache.digest(key) for key in map(self._key_of, self.outcomes)}

    def note(self, lines: Iterable[str]) -> None:
        """Log lines, and keep them among the notes."""
        for line in lines:
            log.info(line)
            self.notes.append(line)

    def plain_settings(self, settings: FitSettings) -> tuple[FitSettings, ...]:
        """Return what settings come to on each fold, which is the same for those that train the same."""
        n_folds = len(self.problem.folds)
        return tuple(self._experiment.inputs.plain_settings(settings, fold) for fold in range(n_folds))

    def folds_at_once(self, configurations: Sequence[Configuration], *, fold: int) -> int:
        """Return on how many folds, from this one on, to train configurations at once: as many as take no longer."""
        jobs = [job for configuration in configurations for job in self.jobs_of(configuration) if job.fold == fold]
        return max(self._experiment.rounds_at_once(jobs), -(-LEAST_JOBS // max(len(jobs), 1)))

    def run(self, configurations: Sequence[Configuration], *, folds: Collection[int] | None = None) -> None:
        """Have the outcome of each of the configurations' jobs, on some folds or all; of one that diverges, its error.

        Raises:
            MemoError: the memo cannot be read or written.
        """
        jobs = dict.fromkeys(
            job
            for configuration in configurations
            for job in self.jobs_of(configuration)
            if job not in self.outcomes and (folds is None or job.fold in folds)
        )
        if self._watcher:
            self._watcher.expect(len(jobs))
        self._waiting = defaultdict(list)
        for job in jobs:
            outcome = self._recall(job)
            if outcome is None:
                self._waiting[self._key_of(job)].append(job)
            else:
                self._note(job, outcome, remembered=True)
        if self._waiting:
            self._engine.train([equal_jobs[0] for equal_jobs in self._waiting.values()], self._take)

    def _count(self, jobs: Iterable[FoldJob]) -> int:
        return len(set(map(self._key_of, jobs)))

    def _recall(self, job: FoldJob) -> Outcome | None:
        """Return a job's outcome from the memo, None if there is none; under a legacy key it gets the new key, too."""
        fold = self.problem.folds[job.fold]
        get = functools.partial(
            self._result_cache.get,
            n_rows=len(fold.test),
            n_classes=len(self.problem.labels.classes),
            n_validation=len(fold.validation) if self._is_race else None,
        )
        key = self._key_of(job)
        outcome = get(key)
        legacy_key = self._keys.legacy_of(job) if outcome is None else key
        if legacy_key == key:
            return outcome
        outcome = get(legacy_key, n_validation=len(fold.validation)) or get(legacy_key)
        if outcome is not None:
            self._result_cache.put(key, outcome)
        return outcome

    def _take(self, finished: FinishedJob) -> None:
        """Note the outcome of a job for all jobs that wait for it, and write it into the memo."""
        key = self._key_of(finished.job)
        if key not in self._waiting:
            self.n_again += 1
            return
        if finished.is_lasting:
            self._result_cache.put(key, finished.outcome)
        for job in self._waiting.pop(key):
            self._note(job, finished.outcome, remembered=False)

    def _note(self, job: FoldJob, outcome: Outcome, *, remembered: bool) -> None:
        self.outcomes[job] = outcome
        if not remembered:
            self.trained.add(job)
        if self._watcher:
            self._watcher.note(job, outcome, remembered=remembered)
