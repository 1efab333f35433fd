"""The engine that trains in this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from heads.ablation.engines.protocol import FinishedJob
from heads.device import describe_device
from heads.errors import HeadError, HeadMemoryError
from heads.experiment.configuration import FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.results import Trained, failed, outcome_of

__all__ = ["LocalEngine"]

WAVE_BYTES = 4 * 2**30  # of answers that late fusion waits for, at a time


class LocalEngine:
    """All jobs at once, in stacks on all cores, unless the answers that late fusion waits for are too many."""

    trains_here = True

    def __init__(self, experiment: Experiment) -> None:
        self.trained_on = describe_device(experiment.device, experiment.dtype)
        self._experiment = experiment

    @classmethod
    @contextmanager
    def open(cls, experiment: Experiment, *_: object) -> Iterator[LocalEngine]:
        """Yield the engine; it needs no more than the experiment."""
        yield cls(experiment)

    def train(self, jobs: Sequence[FoldJob], take: Callable[[FinishedJob], None]) -> None:
        """Train jobs, and let `take` have what comes of each."""
        for wave in self._waves(jobs):
            self._experiment.run(
                wave, lambda job, result: take(self._finished_job(job, result)), keeps_what_is_done=True
            )

    def _finished_job(self, job: FoldJob, result: Trained | HeadError) -> FinishedJob:
        if isinstance(result, HeadError):
            return FinishedJob(job, failed(result), is_lasting=not isinstance(result, HeadMemoryError))
        labels, split = self._experiment.problem.labels, self._experiment.problem.folds[job.fold]
        return FinishedJob(job, outcome_of(result, labels.targets, split, n_classes=len(labels.classes)))

    def _waves(self, jobs: Sequence[FoldJob]) -> Iterator[list[FoldJob]]:
        """Yield jobs that are trained at once."""
        cells = defaultdict(list)
        for job in jobs:
            cells[job.fold, job.seed].append(job)
        wave: list[FoldJob] = []
        wave_bytes = 0
        n_classes = len(self._experiment.problem.labels.classes)
        for (fold, _seed), cell_jobs in sorted(cells.items()):
            split = self._experiment.problem.folds[fold]
            n_members = len({member for job in cell_jobs for member in job.members})
            cell_bytes = n_members * (len(split.validation) + len(split.test)) * n_classes * 4
            if wave and wave_bytes + cell_bytes > WAVE_BYTES:
                yield wave
                wave, wave_bytes = [], 0
            wave, wave_bytes = wave + cell_jobs, wave_bytes + cell_bytes
        if wave:
            yield wave
