"""A bench: the jobs of an ablation, remembered or trained, each once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from typing import Protocol

from heads.device import describe_device
from heads.errors import HeadError, HeadMemoryError
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.input_digests import split_sha256, tokens_sha256, vectors_sha256
from heads.experiment.result_store import ResultCache, job_key
from heads.experiment.results import Outcome, Trained, failed, outcome_of
from heads.head_types import head_type
from heads.modules.plugin import plugin_sha256

__all__ = ["Bench", "Watcher"]

WAVE_BYTES = 4 * 2**30  # of answers that late fusion waits for, at a time


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
        self, experiment: Experiment, result_cache: ResultCache, *, seeds: Sequence[int], watcher: Watcher | None = None
    ) -> None:
        self.problem = problem = experiment.problem
        self.outcomes: dict[FoldJob, Outcome] = {}
        self.trained: set[FoldJob] = set()
        self.n_again = 0  # members trained again for late fusion's sake
        self._experiment = experiment
        self._result_cache = result_cache
        self._seeds = seeds
        self._trained_on = describe_device(experiment.device, experiment.dtype)
        self._watcher = watcher
        self._vectors_sha256 = cache(lambda encoder, version: vectors_sha256(problem.vectors[encoder][version]))
        self._tokens_sha256 = cache(lambda encoder, version: tokens_sha256(problem.vectors[encoder][version]))
        self._plugin_sha256 = cache(plugin_sha256)
        self._split_sha256 = cache(lambda fold: split_sha256(problem.folds[fold], problem.labels.targets))

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
            outcome = self._result_cache.get(self.key(job), n_rows=n_rows, n_classes=n_classes)
            if outcome is None:
                missing.append(job)
            else:
                self._take(job, outcome, remembered=True)
        for wave in self._waves(missing):
            self._experiment.run(wave, self._put, keeps_what_is_done=True)

    def key(self, job: FoldJob) -> str:
        """Return the SHA-256 of all that the job's outcome follows from."""
        description = self._experiment.describe(job)
        versions = {encoder: self.problem.version(encoder, job.fold) for encoder in job.configuration.encoders}
        return job_key(
            {
                "vectors": {
                    encoder[0]: self._vectors_sha256(encoder, version) for encoder, version in versions.items()
                },
                "tokens": {
                    encoder[0]: self._tokens_sha256(encoder, version)
                    for encoder, version in versions.items()
                    if encoder[0] in description.token_dims
                },
                "label": self.problem.labels.column,
                "classes": self.problem.labels.classes,
                "split": self._split_sha256(job.fold),
                "description": description.to_dict(),
                "plugin": self._plugin_sha256(description.plugin) if description.plugin else "",
                "settings": asdict(job.settings),
                "trained_on": self._trained_on,
            }
        )

    def _take(self, job: FoldJob, outcome: Outcome, *, remembered: bool) -> None:
        self.outcomes[job] = outcome
        if not remembered:
            self.trained.add(job)
        if self._watcher:
            self._watcher.note(job, outcome, remembered=remembered)

    def _waves(self, jobs: Sequence[FoldJob]) -> Iterator[list[FoldJob]]:
        """Yield jobs that are trained at once: all, unless the answers that late fusion waits for are too many."""
        cells = defaultdict(list)
        for job in jobs:
            cells[job.fold, job.seed].append(job)
        wave: list[FoldJob] = []
        wave_bytes = 0
        n_classes = len(self.problem.labels.classes)
        for (fold, _), own in sorted(cells.items()):
            split = self.problem.folds[fold]
            n_members = len({member for job in own for member in job.members})
            cell_bytes = n_members * (len(split.validation) + len(split.test)) * n_classes * 4
            if wave and wave_bytes + cell_bytes > WAVE_BYTES:
                yield wave
                wave, wave_bytes = [], 0
            wave, wave_bytes = wave + own, wave_bytes + cell_bytes
        if wave:
            yield wave

    def _put(self, job: FoldJob, result: Trained | HeadError) -> None:
        """Take what comes of a job, and remember it unless memory was missing, of which there may be more next time."""
        if job in self.outcomes:
            self.n_again += 1
            return
        if isinstance(result, HeadError):
            outcome = failed(result)
        else:
            labels, split = self.problem.labels, self.problem.folds[job.fold]
            outcome = outcome_of(result, labels.targets, split, n_classes=len(labels.classes))
        if not isinstance(result, HeadMemoryError):
            self._result_cache.put(self.key(job), outcome)
        self._take(job, outcome, remembered=False)
