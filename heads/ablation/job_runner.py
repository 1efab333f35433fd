"""A bench: the jobs of an ablation, remembered or trained, each once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from heads.ablation.engines.protocol import Done, Engine
from heads.ablation.job_keys import JobKeys
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.result_store import ResultCache
from heads.experiment.results import Outcome
from heads.head_types import head_type

__all__ = ["Bench", "Watcher"]


class Watcher(Protocol):
    """Whoever wants to know how far the jobs are."""

    def expect(self, n_jobs: int) -> None:
        """Hear that so many more jobs are wanted."""

    def note(self, job: FoldJob, outcome: Outcome, *, remembered: bool) -> None:
        """Hear what came of a job."""


class Bench:
    """Where configurations are tried: every job's outcome is looked up in the memo, or trained and written there.

    Late fusion that is missing there needs the answers of its members: where these are remembered, they are trained
    again, for a memo keeps no probabilities of all classes.
    """

    def __init__(
        self,
        experiment: Experiment,
        result_cache: ResultCache,
        *,
        engine: Engine,
        seeds: Sequence[int],
        watcher: Watcher | None = None,
    ) -> None:
        self.problem = experiment.problem
        self.outcomes: dict[FoldJob, Outcome] = {}
        self.trained: set[FoldJob] = set()
        self.n_again = 0  # members trained again for late fusion's sake
        self._experiment = experiment
        self._result_cache = result_cache
        self._engine = engine
        self._keys = JobKeys(experiment, trained_on=engine.trained_on)
        self._seeds = seeds
        self._watcher = watcher

    @property
    def is_late_fitted(self) -> bool:
        """Whether late fusion is there, with weights fitted on the validation rows."""
        is_fitted = self._experiment.weighting.fitted is not None
        return is_fitted and any(head_type(name).is_average for name in self.problem.fusions)

    def jobs_of(self, configuration: Configuration) -> list[FoldJob]:
        """Return the configuration's jobs, by seed and fold."""
        return configuration.jobs(n_folds=len(self.problem.folds), seeds=self._seeds)

    def run(self, configurations: Sequence[Configuration]) -> None:
        """Find out what comes of every job of the configurations; those that diverge come to an error.

        Raises:
            MemoError: the memo cannot be read or written.
        """
        jobs = dict.fromkeys(job for one in configurations for job in self.jobs_of(one) if job not in self.outcomes)
        if self._watcher:
            self._watcher.expect(len(jobs))
        missing = []
        for job in jobs:
            n_rows, n_classes = len(self.problem.folds[job.fold].test), len(self.problem.labels.classes)
            outcome = self._result_cache.get(self._keys.of(job), n_rows=n_rows, n_classes=n_classes)
            if outcome is None:
                missing.append(job)
            else:
                self._note(job, outcome, remembered=True)
        if missing:
            self._engine.train(missing, self._take)

    def _take(self, done: Done) -> None:
        """Take what comes of a job, and remember it."""
        if done.job in self.outcomes:
            self.n_again += 1
            return
        if done.is_lasting:
            self._result_cache.put(self._keys.of(done.job), done.outcome)
        self._note(done.job, done.outcome, remembered=False)

    def _note(self, job: FoldJob, outcome: Outcome, *, remembered: bool) -> None:
        self.outcomes[job] = outcome
        if not remembered:
            self.trained.add(job)
        if self._watcher:
            self._watcher.note(job, outcome, remembered=remembered)
