"""The one pipeline: configurations of a problem are trained on its folds, and each head answers rows of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import nn

from cache.system.memory_budget import memory_bytes
from heads.data.draws import generator_of
from heads.device import find_device, find_dtype
from heads.errors import HeadError, HeadMemoryError, SettingError
from heads.experiment.adjustment import adjust
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.few_rows import few_rows
from heads.experiment.fold_inputs import FoldInputs
from heads.experiment.late_fusion import MemberAnswers, Weighting, choose_averaging
from heads.experiment.pending_fusions import Pending
from heads.experiment.problem import Problem
from heads.experiment.results import Trained
from heads.head_types import head_type
from heads.modules.description import HeadDescription
from heads.modules.late import Late
from heads.modules.mixture import Mixture
from heads.modules.plugin import head_name, is_plugin
from heads.modules.saving.saved_head import TrainedHead
from heads.modules.selection import Selected, select
from heads.settings import AUTO, FitSettings, ProblemSettings
from heads.training.job import Fit, Job
from heads.training.scheduler import fit_jobs
from heads.training.stack_planner import rounds_at_once

__all__ = ["Experiment"]

STANDARDISED_BYTES = 2**30  # of rows that heads answer, or an eighth of the memory for vectors


class Experiment:
    """A problem, whose folds are trained on and whose heads answer the rows of some sides of them.

    Jobs are trained in stacks, as many beside each other as there are. Late fusion averages the answers of the single
    heads of its fold, seed and settings, an ensemble those of other fusions, too; they are kept until it has them.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        sides: Sequence[str],
        weighting: Weighting,
        device: torch.device,
        precision: str,
        memory: int | None = None,
    ) -> None:
        self.problem = problem
        self.weighting = weighting
        self.device = device
        self.dtype = find_dtype(precision, device)
        self._memory = memory
        most_bytes = STANDARDISED_BYTES if memory is None else min(STANDARDISED_BYTES, memory // 8)
        self.inputs = FoldInputs(problem, sides=sides, most_bytes=most_bytes)

    @classmethod
    def of(
        cls,
        problem: Problem,
        settings: ProblemSettings,
        *,
        sides: Sequence[str],
        n_resamples: int = 0,
    ) -> Experiment:
        """Return the experiment that the settings ask for; `n_resamples` tell how sure fitted weights are.

        Raises:
            SettingError: weights, device or memory cannot be had.
        """
        seed = settings.draw_seed
        return cls(
            problem,
            sides=sides,
            weighting=Weighting.parse(settings.weights, list(problem.encoders), n_resamples=n_resamples, seed=seed),
            device=find_device(settings.device),
            precision=settings.precision,
            memory=memory_bytes(settings.memory),
        )

    def describe(self, job: FoldJob) -> HeadDescription:
        """Return what the head of a job is built from; weights that are fitted follow from all else."""
        name, kind, settings = job.configuration.head, head_type(job.configuration.head), job.settings
        vectors = self.inputs.vectors(job.configuration.encoders, job.fold)
        is_fusion = name not in vectors.dims
        learns_absence = kind.averages_fusions or not (kind.at_once or kind.is_average)
        has_given = kind.is_average and not (kind.averages_fusions or self.weighting.fitted)
        takes_tokens = any(head_type(head).takes_tokens for head in (name, *job.configuration.beside))
        if settings.scaling != FitSettings.scaling and (
            several := [modality for modality in vectors.widths if modality in vectors.dims]
        ):
            raise SettingError(
                f"--scaling: expected {FitSettings.scaling} where a head takes several encoders of one modality "
                f"({', '.join(several)}), each standardised by itself, got {settings.scaling}."
            )
        return HeadDescription(
            name=head_name(name),
            plugin=name if is_plugin(name) else None,
            dims=vectors.dims,
            n_classes=len(self.problem.labels.classes),
            hidden_dim=settings.hidden_dim,
            dropout=settings.dropout,
            n_tokens=settings.n_tokens,
            n_attention_heads=settings.n_attention_heads,
            rank=settings.rank,
            absent=settings.absent if is_fusion and learns_absence else "zeros",
            scaling=settings.scaling,
            weights=dict(self.weighting.fixed) if has_given else {},
            token_dims=vectors.token_dims if takes_tokens else {},
            n_positions=vectors.n_positions if takes_tokens else {},
        )

    def plain(self, job: FoldJob) -> FoldJob:
        """Return the job by its plain settings: the same for all that train the same on their fold's rows."""
        configuration = job.configuration
        settings = self.inputs.plain_settings(configuration.settings, job.fold)
        return job._replace(
            configuration=Configuration(configuration.head, configuration.encoders, settings, configuration.beside)
        )

    def run(
        self,
        jobs: Sequence[FoldJob],
        take: Callable[[FoldJob, Trained | HeadError], None],
        *,
        keeps_what_is_done: bool = False,
    ) -> None:
        """Train jobs and the members of those that average others, and give each result to `take` at once.

        With `keeps_what_is_done` the jobs that are trained when Ctrl-C comes are still taken, and the one at which it
        came may be taken twice.

        Raises:
            SettingError: the memory is too small for one head's vectors.
        """
        pending = Pending([job for job in jobs if job.members])
        jobs_to_train = list(dict.fromkeys([job for job in jobs if not job.members] + pending.members))
        described = [self._job(job) for job in jobs_to_train]
        stop = threading.Event()  # which the scheduler sets when Ctrl-C meets it
        interruption: KeyboardInterrupt | None = None
        fits = fit_jobs(described, device=self.device, dtype=self.dtype, memory=self._memory, stop=stop)
        with closing(cast("Generator[tuple[int, Fit | HeadError], None, None]", fits)) as fits_done:
            for index, fit in fits_done:
                if stop.is_set() and not keeps_what_is_done:
                    continue
                try:
                    self._finish(jobs_to_train[index], fit, pending, take)
                except KeyboardInterrupt as error:
                    if interruption is not None or not keeps_what_is_done:  # twice: one does not want to wait
                        raise
                    interruption = error
                    stop.set()  # and take what is done
                    self._finish(jobs_to_train[index], fit, pending, take)
        self.inputs.forget()
        if interruption is not None:
            raise interruption

    def rounds_at_once(self, jobs: Sequence[FoldJob]) -> int:
        """Return how many rounds of such jobs are better trained together than one after the other."""
        return rounds_at_once([self._job(job) for job in jobs if not job.members])

    def _job(self, job: FoldJob) -> Job:
        task = self.inputs.task(job.configuration.encoders, job.fold, job.settings.scaling)
        return Job(self.describe(job), task, job.settings)

    def head(self, job: FoldJob, description: HeadDescription, module: nn.Module) -> TrainedHead:
        """Return a module that a job has trained, with all that is needed to answer."""
        encoders, labels = job.configuration.encoders, self.problem.labels
        vectors = self.inputs.vectors(encoders, job.fold)
        return TrainedHead(
            description=description,
            module=module,
            standardise=self.inputs.standardise(encoders, job.fold, description.scaling).part(
                description.dims, description.token_dims
            ),
            label=labels.column,
            classes=labels.classes,
            encoders=dict(encoders),
            specs=vectors.specs,
            contents=vectors.contents,
        )

    def _finish(
        self,
        job: FoldJob,
        fit: Fit | HeadError,
        pending: Pending,
        take: Callable[[FoldJob, Trained | HeadError], None],
    ) -> None:
        """Give `take` the result of a job, and those of the averages that waited for it alone."""
        result = fit if isinstance(fit, HeadError) else self._answered(job, fit)
        take(job, result)
        for average_job, members in pending.complete(job, result):
            take(average_job, self._averaged(average_job, members))

    def _answered(self, job: FoldJob, fit: Fit) -> Trained | HeadError:
        head = self.head(job, fit.description, fit.module)
        where = job.configuration.encoders, job.fold
        strength = None
        if job.settings.logit_adjustment == AUTO and not head_type(job.configuration.head).at_once:
            try:
                strength = self._adjust(job, head)
            except HeadError as error:
                return error
        answers = self.inputs.answers(head, *where)
        return Trained(head, answers, fit.elapsed_s, fit.best_epoch, fit.history, logit_adjustment=strength)

    def _adjust(self, job: FoldJob, head: TrainedHead) -> float:
        """Adjust a head's logits, and return the strength."""
        where = job.configuration.encoders, job.fold
        rows = self._few_rows(job, "validation")
        return adjust(
            head,
            Job(head.description, self.inputs.task(*where, job.settings.scaling), job.settings).log_shares,
            rows=rows,
            targets=self.problem.labels.targets[rows],
            answers_to=lambda some: self.inputs.log_probabilities(head, *where, rows=some),
        )

    def _averaged(self, job: FoldJob, members: Mapping[str, Trained | HeadError]) -> Trained | HeadError:
        """Return what comes of averaging the members' answers."""
        errors = [member for member in members.values() if isinstance(member, HeadError)]
        if errors:
            return next((error for error in errors if isinstance(error, HeadMemoryError)), errors[0])
        trained = cast("Mapping[str, Trained]", members)
        where = job.configuration.encoders, job.fold

        def answers_to(side: str) -> MemberAnswers:
            rows = self._few_rows(job, side)
            logs = {
                name: self.inputs.log_probabilities(member.head, *where, rows=rows) for name, member in trained.items()
            }
            return MemberAnswers.of(logs, rows, problem=self.problem, vectors=self.inputs.vectors(*where))

        averaging = None
        if head_type(job.configuration.head).averages_fusions:
            head = self._selected_head(job, answers_to("validation"), trained)
        else:
            averaging = choose_averaging(self.weighting, answers_to)
            head = self._late_head(job, averaging.mixture, trained)
        return Trained(
            head,
            self.inputs.answers(head, *where),
            sum(member.elapsed_s for member in trained.values()),
            averaging=averaging,
        )

    def _few_rows(self, job: FoldJob, side: str) -> np.ndarray:
        return few_rows(
            getattr(self.problem.folds[job.fold], side),
            n_classes=len(self.problem.labels.classes),
            generator=generator_of(job.settings.seed, "few rows"),  # the job's: a result cache knows it by this
        )

    def _late_head(self, job: FoldJob, mixture: Mixture, members: Mapping[str, Trained]) -> TrainedHead:
        late = Late(
            {name: member.head.module for name, member in members.items()},
            weights=mixture.weights,
            temperatures=mixture.temperatures,
            temperature=mixture.temperature,
        )
        return self.head(job, replace(self.describe(job), weights=mixture.weights), late.eval())

    def _selected_head(self, job: FoldJob, answers: MemberAnswers, members: Mapping[str, Trained]) -> TrainedHead:
        """Return an ensemble of the single heads and of those fusions that are selected."""
        fold, rows = self.problem.folds[job.fold], self._few_rows(job, "validation")
        row_counts = np.ones(len(rows)) if self.problem.sample_weights is None else self.problem.sample_weights[rows]
        counts = torch.from_numpy(np.where(np.isin(rows, fold.train), 0.0, row_counts))
        logs = {
            name: member_logs
            for name, member_logs in answers.log_probabilities.items()
            # Else that member answers the same.
            if getattr(members[name].head.module, "answers_as", None) not in members
        }
        member_weights, temperature = select(logs, answers.present, answers.targets, counts)
        description = self.describe(job)
        described = [members[name].head.description for name in member_weights]
        takes_tokens = any(member.token_dims for member in described)
        description = description if takes_tokens else replace(description, token_dims={}, n_positions={})
        n_stored = max(member.n_stored for member in described)
        module = Selected({name: members[name].head.module for name in member_weights}, weights=member_weights).eval()
        module.get_buffer("temperature").fill_(temperature)
        return self.head(job, replace(description, weights=member_weights, n_stored=n_stored), module)
