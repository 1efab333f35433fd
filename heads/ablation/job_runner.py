"""A bench: the jobs of an ablation, remembered or trained, each once."""

from __future__ import annotations

import copy
import functools
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from cache.console.notes import PROGRESS
from heads.ablation.dropped import Dropped
from heads.ablation.engines.protocol import Done, Engine
from heads.ablation.job_keys import JobKeys
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.result_store import ResultCache
from heads.experiment.results import Outcome
from heads.head_types import head_type
from heads.settings import FitSettings

__all__ = ["Bench", "Watcher"]

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


class Bench:
    """Where configurations are tried: every job's outcome is looked up in the memo, or trained and written there.

    Of jobs that train the same, by their keys, one is trained, and its outcome is that of all.

    Late fusion that is missing there needs the answers of its members: where these are remembered, they are trained
    again, for a memo keeps no probabilities of all classes. In a race an outcome is known where the answers to its
    validation rows are.
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
        self.notes = list(experiment.problem.notes)  # and what is found out here
        self.outcomes: dict[FoldJob, Outcome] = {}
        self.trained: set[FoldJob] = set()
        self._waiting: dict[str, list[FoldJob]] = {}  # key -> the jobs that are trained by one of them
        self.n_again = 0  # members trained again for late fusion's sake
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

    def as_remembered(self) -> Bench:
        """Return the bench as it is when the same is asked for again, and nothing is trained."""
        other = copy.copy(self)
        other.trained, other.n_again = set(), 0
        return other

    def digests(self) -> dict[str, str | None]:
        """Return what tells each job's outcome in the memo from any other, by its key; None where it is not there.

        Raises:
            MemoError: the memo cannot be read.
        """
        return {key: self._result_cache.digest(key) for key in map(self._key_of, self.outcomes)}

    def note(self, lines: Iterable[str]) -> None:
        """Tell what was found out, and keep it among the notes."""
        for line in lines:
            log.info(line)
            self.notes.append(line)

    def same_settings(self, settings: FitSettings) -> tuple[FitSettings, ...]:
        """Return what settings come to on each fold, which is the same for those that train the same."""
        n_folds = len(self.problem.folds)
        return tuple(self._experiment.inputs.plain_settings(settings, fold) for fold in range(n_folds))

    def folds_at_once(self, configurations: Sequence[Configuration], *, fold: int) -> int:
        """Return on how many folds, from this one on, they are better trained at once than on one after the other."""
        jobs = [job for one in configurations for job in self.jobs_of(one) if job.fold == fold]
        return max(self._experiment.rounds_at_once(jobs), -(-LEAST_JOBS // max(len(jobs), 1)))

    def run(self, configurations: Sequence[Configuration], *, folds: Collection[int] | None = None) -> None:
        """Find out what comes of the configurations' jobs, on some folds or all; those that diverge come to an error.

        Raises:
            MemoError: the memo cannot be read or written.
        """
        jobs = dict.fromkeys(
            job
            for one in configurations
            for job in self.jobs_of(one)
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
            self._engine.train([same[0] for same in self._waiting.values()], self._take)

    def _count(self, jobs: Iterable[FoldJob]) -> int:
        return len(set(map(self._key_of, jobs)))

    def _recall(self, job: FoldJob) -> Outcome | None:
        """Return what is remembered of a job, by the key that it had before those that train the same had one, too."""
        fold = self.problem.folds[job.fold]
        get = functools.partial(
            self._result_cache.get,
            n_rows=len(fold.test),
            n_classes=len(self.problem.labels.classes),
            n_validation=len(fold.validation) if self._is_race else None,
        )
        key = self._key_of(job)
        outcome = get(key)
        if outcome is not None or (before := self._keys.as_told(job)) == key:
            return outcome
        outcome = get(before, n_validation=len(fold.validation)) or get(before)
        if outcome is not None:
            self._result_cache.put(key, outcome)
        return outcome

    def _take(self, done: Done) -> None:
        """Take what comes of a job and of those that are the same, and remember it."""
        key = self._key_of(done.job)
        if key not in self._waiting:
            self.n_again += 1
            return
        if done.is_lasting:
            self._result_cache.put(key, done.outcome)
        for job in self._waiting.pop(key):
            self._note(job, done.outcome, remembered=False)

    def _note(self, job: FoldJob, outcome: Outcome, *, remembered: bool) -> None:
        self.outcomes[job] = outcome
        if not remembered:
            self.trained.add(job)
        if self._watcher:
            self._watcher.note(job, outcome, remembered=remembered)
