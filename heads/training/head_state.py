"""One head of a stack while it is trained: its random numbers, its weights of classes, and its best epoch so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from heads.device import to_host
from heads.errors import HeadError
from heads.modules.seeded import head_alone
from heads.settings import AUTO
from heads.training.job import Fit, Job
from heads.training.row_source import NONE, Source, View
from heads.training.sampler import draw_order
from heads.training.training_plan import TrainingPlan, class_weights

__all__ = ["Epoch", "Member"]

ORDER_SEED = 0x2545F4914F6CDD1D  # added to the seed: the initial weights are drawn from the seed itself


class Epoch(NamedTuple):
    """The rows of an epoch, which modalities each is shown with, and which view of them.

    Shape:
        rows: (n_steps, B) int64
        keep_mask: (n_steps, B, M) bool, or None where none is dropped
        versions: {modality that has several views: (n_steps, B) int64}, as `Source.view` takes them
    """

    rows: Tensor
    keep_mask: Tensor | None
    versions: Mapping[str, Tensor]


class Member:
    """The state of one head in training, which does not depend on the stack that it is in.

    Shape:
        train, validation: (n,) int64, rows of the task
        class_weights, logit_shifts: (K,) float32
        row_weights: (N,) float32, of mean 1 over the training rows, of all rows of the task; None: 1 each
    """

    def __init__(self, job_index: int, job: Job, source: Source) -> None:
        self.job_index = job_index
        self.job = job
        self.task = job.task
        self.source = source
        self.validation = torch.from_numpy(job.task.split.validation)
        self.generator = torch.Generator().manual_seed((job.settings.seed + ORDER_SEED) % 2**63)
        self.plan = TrainingPlan.of(job.settings, n_rows=job.n_epoch_rows)
        self._train = torch.from_numpy(job.task.split.train)
        self._train_targets = job.train_targets
        self._per_class = job.per_class
        counts = job.class_counts  # (K,)
        self.row_weights: Tensor | None = None
        if (weights := job.task.sample_weights) is not None:
            self.row_weights = (weights / weights[self._train].mean()).float()
        self.class_weights = class_weights(counts, job.settings.class_weights)
        strength = job.settings.logit_adjustment
        strength = 0.0 if strength == AUTO else float(strength)  # auto is fitted after the training
        self.logit_shifts = strength * job.log_shares
        self.error: HeadError | None = None
        self._history: list[dict[str, float]] = []
        self._best = (-1.0, -math.inf)
        self._best_epoch = 0
        self._best_state: dict[str, Tensor] = {}
        self._elapsed_s = 0.0

    def view(self, rows: Tensor, versions: Mapping[str, Tensor] = NONE) -> View:
        """Return some rows of the task with what the head sees of them."""
        return self.source.view(rows, self.job.description.dims, versions)

    def draw_epoch(self) -> Epoch:
        """Return the next epoch: as many batches as are full."""
        rows = self._train[draw_order(self._train_targets, self._per_class, self.generator)]
        n_steps, batch_size = self.plan.n_steps, self.plan.batch_size
        rows = rows[: n_steps * batch_size].unflatten(0, (n_steps, batch_size))
        n_modalities, rate = len(self.job.description.dims), self.job.settings.modality_dropout
        keep_mask = None
        if n_modalities > 1 and rate:
            keep_mask = torch.rand(*rows.shape, n_modalities, generator=self.generator) >= rate
        versions = {
            name: torch.randint(1 + len(views), rows.shape, generator=self.generator)
            for name, views in sorted(self.task.augmented.items())
            if name in self.job.description.dims
        }
        return Epoch(rows, keep_mask, versions)

    def shares_of_rate(self) -> list[float]:
        """Return the share of the learning rate that the head takes at each step of the next epoch.

        A stall is half as many epochs without a better score as end the training.
        """
        scores = [(epoch["validation_macro_f1"], -epoch["validation_loss"]) for epoch in self._history]
        return self.plan.shares_of_rate(scores)

    def note(
        self, train_loss: float, validation_loss: float, macro_f1: float, *, state: dict[str, Tensor], share_s: float
    ) -> None:
        """Record the figures of an epoch, and keep the head's state where it is the best so far."""
        self._elapsed_s += share_s
        self._history.append(
            {"train_loss": train_loss, "validation_loss": validation_loss, "validation_macro_f1": macro_f1}
        )
        if not math.isfinite(train_loss + validation_loss):
            self.error = HeadError(
                f"Expected training to converge, but the loss of {self.job.description.name} is not finite in epoch "
                f"{len(self._history)}. Lower --learning-rate, which is {self.job.settings.learning_rate:g}."
            )
        elif self.plan.keep == "last" or (macro_f1, -validation_loss) > self._best:
            self._best = (macro_f1, -validation_loss)
            self._best_epoch = len(self._history)
            self._best_state = {name: tensor.detach().clone() for name, tensor in state.items()}  # on the device

    @property
    def has_stopped(self) -> bool:
        """Whether another epoch is not worth it, or not allowed."""
        n_epochs = len(self._history)
        return n_epochs >= self.plan.n_epochs or n_epochs - self._best_epoch >= self.plan.patience

    def fit(self) -> Fit:
        """Return the head as it was in its best epoch."""
        module = head_alone(self.job.description, to_host(self._best_state))
        return Fit(module, self.job.description, self._best_epoch, self._history, self._elapsed_s)
