"""A bench: the jobs of an ablation, remembered or trained, each once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import cache
from typing import Protocol, cast

import torch

from heads.ablation.ablation_problem import AblationProblem, split_sha256, tokens_sha256, vectors_sha256
from heads.ablation.configuration import AblationJob, Configuration
from heads.ablation.fold_inputs import Prepared
from heads.ablation.grid import is_seeded
from heads.ablation.pending_fusions import MemberResult, Pending
from heads.device import describe_device, find_dtype
from heads.errors import HeadError, HeadMemoryError
from heads.experiment.problem import describe
from heads.experiment.result_store import Memo, job_key
from heads.experiment.results import Outcome, failed, outcome_of
from heads.head_types import head_type
from heads.modules.description import HeadDescription
from heads.modules.plugin import plugin_sha256
from heads.training.job import Fit, Job
from heads.training.scheduler import fit_jobs

__all__ = ["Bench", "Watcher"]

WAVE_BYTES = 4 * 2**30  # of answers that late fusion waits for, at a time
KEPT_BYTES = 2**30  # of rows that heads answer, or an eighth of the memory for vectors


class Watcher(Protocol):
    """Whoever wants to know how far the jobs are."""

    def expect(self, n_jobs: int) -> None:
        """Hear that so many more jobs are wanted."""

    def note(self, job: AblationJob, outcome: Outcome, *, remembered: bool) -> None:
        """Hear what came of a job."""


class Bench:
    """Where configurations are tried: every job's outcome is looked up in the memo, or trained and written there.

    Jobs are trained in stacks, as many beside each other as there are. Late fusion averages the answers of the single
    heads of its fold, seed and settings, which are kept until it has them; where it is missing and they are remembered,
    they are trained again, for a memo keeps no probabilities of all classes. Without `weights` it fits its own, on the
    validation rows of each fold.
    """

    def __init__(
        self,
        problem: AblationProblem,
        memo: Memo,
        *,
        seeds: Sequence[int],
        weights: Mapping[str, float] | None,
        device: torch.device,
        precision: str,
        memory: int | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.problem = problem
        self.outcomes: dict[AblationJob, Outcome] = {}
        self.trained: set[AblationJob] = set()
        self.n_again = 0  # members trained again for late fusion's sake
        self._memo = memo
        self._seeds = seeds
        self._weights = weights
        self._device = device
        self._memory = memory
        self._dtype = find_dtype(precision, device)
        self._trained_on = describe_device(device, self._dtype)
        self._watcher = watcher
        self._prepared = Prepared(problem, most_bytes=KEPT_BYTES if memory is None else min(KEPT_BYTES, memory // 8))
        self._vectors_sha256 = cache(lambda encoder, version: vectors_sha256(problem.vectors[encoder][version]))
        self._tokens_sha256 = cache(lambda encoder, version: tokens_sha256(problem.vectors[encoder][version]))
        self._plugin_sha256 = cache(plugin_sha256)
        self._split_sha256 = cache(lambda fold: split_sha256(problem.folds[fold], problem.labels.codes))

    @property
    def is_late_fitted(self) -> bool:
        """Whether late fusion is there, with weights fitted on the validation rows."""
        return self._weights is None and any(head_type(name).is_average for name in self.problem.fusions)

    def jobs_of(self, configuration: Configuration) -> list[AblationJob]:
        """Return the configuration's jobs, by seed and fold; what draws nothing has the seed 0 alone."""
        folds = range(len(self.problem.folds))
        seeds = self._seeds if is_seeded(configuration.head) else (0,)
        return [AblationJob(configuration, fold, seed) for seed in seeds for fold in folds]

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
            outcome = self._memo.get(self.key(job), n_rows=n_rows, n_classes=n_classes)
            if outcome is None:
                missing.append(job)
            else:
                self._take(job, outcome, remembered=True)
        for wave in self._waves(missing):
            self._train(wave)

    def key(self, job: AblationJob) -> str:
        """Return the SHA-256 of all that the job's outcome follows from."""
        description = self._description(job)
        own = {encoder: self.problem.version(encoder, job.fold) for encoder in job.configuration.encoders}
        return job_key(
            {
                "vectors": {encoder[0]: self._vectors_sha256(encoder, version) for encoder, version in own.items()},
                "tokens": {
                    encoder[0]: self._tokens_sha256(encoder, version)
                    for encoder, version in own.items()
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

    def _description(self, job: AblationJob) -> HeadDescription:
        return describe(
            job.configuration.head,
            self._prepared.vectors(job.configuration.encoders, job.fold),
            n_classes=len(self.problem.labels.classes),
            settings=job.settings,
            weights=self._weights or {},  # fitted ones follow from all else
        )

    def _take(self, job: AblationJob, outcome: Outcome, *, remembered: bool) -> None:
        self.outcomes[job] = outcome
        if not remembered:
            self.trained.add(job)
        if self._watcher:
            self._watcher.note(job, outcome, remembered=remembered)

    def _waves(self, jobs: Sequence[AblationJob]) -> Iterator[list[AblationJob]]:
        """Yield jobs that are trained at once: all, unless the answers that late fusion waits for are too many."""
        cells = defaultdict(list)
        for job in jobs:
            cells[job.fold, job.seed].append(job)
        wave: list[AblationJob] = []
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

    def _train(self, jobs: Sequence[AblationJob]) -> None:
        """Train jobs, and note what comes of each as soon as it is there."""
        self._prepared.forget()  # another wave has other folds
        pending = Pending([job for job in jobs if job.members])
        plain = list(dict.fromkeys([job for job in jobs if not job.members] + pending.members))
        self.n_again += sum(job in self.outcomes for job in plain)
        described = [
            Job(self._description(job), self._prepared.task(job.configuration.encoders, job.fold), job.settings)
            for job in plain
        ]
        stop = threading.Event()
        interruption: KeyboardInterrupt | None = None
        fits = fit_jobs(described, device=self._device, dtype=self._dtype, memory=self._memory, stop=stop)
        with closing(cast("Generator[tuple[int, Fit | HeadError], None, None]", fits)) as found:
            for place, fit in found:
                try:
                    self._finish(plain[place], fit, pending)
                except KeyboardInterrupt as error:
                    if interruption is not None:  # whoever types it twice does not want to wait
                        raise
                    interruption = error
                    stop.set()  # and take what is done
                    self._finish(plain[place], fit, pending)
        if interruption is not None:
            raise interruption

    def _finish(self, job: AblationJob, fit: Fit | HeadError, pending: Pending) -> None:
        """Note what comes of a job, and of the late ones that waited for it; nothing is noted twice."""
        result = self._result(job, fit)
        if job not in self.outcomes:
            self._put(job, self._outcome(job, result, fit), result)
        for late_job, members in pending.complete(job, result):
            if late_job not in self.outcomes:
                self._put(late_job, self._late(late_job, members), *members.values())

    def _result(self, job: AblationJob, fit: Fit | HeadError) -> MemberResult | HeadError:
        if isinstance(fit, HeadError):
            return fit
        return MemberResult(self._prepared.answers(fit, job.configuration.encoders, job.fold), fit.elapsed_s)

    def _outcome(self, job: AblationJob, result: MemberResult | HeadError, fit: Fit | HeadError | None) -> Outcome:
        if isinstance(result, HeadError):
            return failed(result)
        return outcome_of(
            result.answers.numpy(),
            self.problem.labels.codes,
            self.problem.folds[job.fold],
            best_epoch=fit.best_epoch if isinstance(fit, Fit) else 0,
            history=fit.history if isinstance(fit, Fit) else [],
            elapsed_s=result.elapsed_s,
        )

    def _late(self, job: AblationJob, members: Mapping[str, MemberResult | HeadError]) -> Outcome:
        """Return what comes of averaging the members' answers."""
        answers, elapsed_s = {}, 0.0
        for name, member in members.items():
            if isinstance(member, HeadError):
                return failed(member)
            answers[name] = member.answers
            elapsed_s += member.elapsed_s
        averaged = self._prepared.late_answers(answers, self._weights, job.configuration.encoders, job.fold)
        return self._outcome(job, MemberResult(averaged, elapsed_s), None)

    def _put(self, job: AblationJob, outcome: Outcome, *causes: MemberResult | HeadError) -> None:
        """Take an outcome, and remember it unless memory was missing, of which there may be more the next time."""
        if not any(isinstance(cause, HeadMemoryError) for cause in causes):
            self._memo.put(self.key(job), outcome)
        self._take(job, outcome, remembered=False)
