"""What is trained, from what, and the result: a job, its task, its fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from heads.data.splitting.splits import Split
from heads.data.tokens import ProductTokens
from heads.head_types import head_type
from heads.modules.description import HeadDescription
from heads.modules.parts.standardiser import Standardise
from heads.settings import FitSettings
from heads.training.sampler import batch_size_of, parse_per_class, validated_together
from heads.training.training_plan import count_epoch_rows

__all__ = ["Fit", "Job", "Task"]


@dataclass(frozen=True)
class Task:
    """What a head learns from: vectors of N products, their tokens, classes and weights, and the split.

    Shape:
        inputs: {modality: (N, D)} tensors or `heads.data.disk_vectors.DiskMatrix`, as in the cache, zeros where absent
        present: {modality: (N,) bool}
        targets: (N,) int64
        sample_weights: (N,) float64, positive for the rows of the split
        class_names: {modality: (K, D)}, of the names of the classes, where they are in the space of its vectors
        augmented: {modality: some (N, D)}, other views of the same contents, of which a training row shows one
        groups: (N,) int64, of rows that are copies of each other, for heads that make folds of the training rows
    """

    inputs: Mapping[str, Any]
    present: Mapping[str, Tensor]
    targets: Tensor
    split: Split
    tokens: Mapping[str, ProductTokens] = field(default_factory=dict)  # as they are in the cache
    standardise: Standardise | None = None  # of vectors and tokens; None: they are standardised
    sample_weights: Tensor | None = None  # None: each row counts once
    groups: Tensor | None = None  # None: no row is another's copy
    class_names: Mapping[str, Tensor] = field(default_factory=dict)  # as in the cache
    augmented: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)  # as in the cache

    @property
    def on_disk(self) -> bool:
        """Whether the vectors are read from the disk while heads are trained."""
        return not all(isinstance(matrix, Tensor) for matrix in self.inputs.values())

    @property
    def total_dim(self) -> int:
        """D of all modalities together, of every view."""
        return sum(matrix.shape[1] * (1 + len(self.augmented.get(name, ()))) for name, matrix in self.inputs.items())


@dataclass(frozen=True)
class Job:
    """One head to train."""

    description: HeadDescription
    task: Task
    settings: FitSettings

    @property
    def is_direct(self) -> bool:
        """Whether the head is fitted at once, and not by steps."""
        return head_type(self.description.name).at_once

    @property
    def is_alone(self) -> bool:
        """Whether it shares no stack: tokens are ragged, and what is fitted at once needs none."""
        return self.is_direct or bool(self.description.token_dims)

    @property
    def train_targets(self) -> Tensor:
        """The class of each training row, (n,) int64."""
        return self.task.targets[torch.from_numpy(self.task.split.train)]

    @property
    def class_counts(self) -> Tensor:
        """How many training rows each class has, (K,); where rows have weights, what these come to."""
        weights = self.task.sample_weights
        train_weights = None if weights is None else weights[torch.from_numpy(self.task.split.train)]
        return torch.bincount(self.train_targets, train_weights, minlength=self.description.n_classes)

    @property
    def log_shares(self) -> Tensor:
        """The logarithm of each class's share of the training rows, (K,) float32; no row counts as one."""
        counts = self.class_counts
        return torch.log((counts.where(counts > 0, 1) / counts.sum()).float())

    @property
    def per_class(self) -> int | None:
        """How many rows of each class an epoch takes; None: every row once."""
        return parse_per_class(self.settings.per_class, torch.bincount(self.train_targets).numpy())

    @property
    def n_epoch_rows(self) -> int:
        """How many rows an epoch has."""
        return count_epoch_rows(self.settings.per_class, torch.bincount(self.train_targets))

    @property
    def shape(self) -> tuple:
        """What jobs must have in common to be trained in one stack."""
        batch_size = batch_size_of(self.n_epoch_rows, self.settings.batch_size)
        plain = replace(self.description, dropout=0.0).to_dict()
        if self.is_alone:
            plain["alone"] = id(self)
        n_steps = self.n_epoch_rows // batch_size
        drops = self.settings.modality_dropout > 0
        is_weighted = self.task.sample_weights is not None
        validated = validated_together(len(self.task.split.validation))
        described = sorted((name, str(value)) for name, value in plain.items())
        return (batch_size, n_steps, validated, drops, is_weighted, *described)


@dataclass(frozen=True)
class Fit:
    """A fitted head and how it got there; its weights are those of the best epoch."""

    module: nn.Module
    description: HeadDescription  # that the module is built from
    best_epoch: int
    history: list[dict[str, float]]  # an epoch: training loss, validation loss and macro-F1
    elapsed_s: float  # its share of the time that its stack took
