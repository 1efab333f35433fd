"""Heads that are fitted at once and not by steps: a convex problem, a look-up, or a model of scikit-learn's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module

import torch
from torch import Tensor

from heads.errors import HeadError
from heads.head_types import head_type
from heads.modules.fitting.rows_to_fit import RowsToFit
from heads.modules.parts.name_directions import name_directions
from heads.training.job import Fit, Job
from heads.training.row_source import MemorySource
from heads.training.training_plan import class_weights

__all__ = ["check_in_memory", "fit_direct", "rows_of"]


def check_in_memory(names: Iterable[str], *, on_disk: bool) -> None:
    """Check that none of the heads named needs vectors in memory that are on the disk.

    Raises:
        HeadError: one does.
    """
    for name in names:
        kind = head_type(name)
        if on_disk and kind.at_once and kind.needs_vectors:
            raise HeadError(
                f"Expected all vectors in memory for {name}, but --memory leaves them on the disk. Give it more, or "
                "leave this head out."
            )


def fit_direct(job: Job, *, device: torch.device) -> Fit:
    """Return the fit of a head that is fitted at once, in float32; it makes its choices on the validation rows.

    Raises:
        HeadError: the vectors are on the disk.
        LabelError: the training rows are all of one class.
    """
    started = time.monotonic()
    kind = head_type(job.description.name)
    check_in_memory([kind.name], on_disk=job.task.on_disk)
    head, chosen = import_module(kind.module).fit(rows_of(job, device=device, with_vectors=kind.needs_vectors))
    description = replace(job.description, **chosen)
    return Fit(head.cpu().eval().requires_grad_(False), description, 0, [], time.monotonic() - started)


def rows_of(job: Job, *, device: torch.device, with_vectors: bool = True) -> RowsToFit:
    """Return what a job's head is fitted to, its vectors standardised."""
    task, description = job.task, job.description
    inputs: Mapping[str, Tensor] = {}
    present: Mapping[str, Tensor] = {}
    targets = task.targets.to(device)
    if with_vectors:
        source = MemorySource(task, torch.empty(0, device=device))
        inputs, present, *_ = source.view(torch.arange(len(targets)), description.dims)
    row_weights = class_weights(job.class_counts, job.settings.class_weights).to(device)[targets.clamp_min(0)]
    sample_weights = None if task.sample_weights is None else task.sample_weights.to(device)
    if sample_weights is not None:
        row_weights = (row_weights * sample_weights).float()
    train, validation = (torch.from_numpy(rows).to(device) for rows in (task.split.train, task.split.validation))
    return RowsToFit(
        name=description.name,
        dims=description.dims,
        n_classes=description.n_classes,
        inputs=inputs,
        present=present,
        targets=targets,
        train=train,
        validation=validation,
        groups=torch.arange(len(targets)) if task.groups is None else task.groups,
        row_weights=row_weights,
        sample_weights=sample_weights,
        seed=job.settings.seed,
        class_names={
            name: name_directions(vectors, name, task.standardise).to(device)
            for name, vectors in task.class_names.items()
            if with_vectors and name in description.dims
        },
    )
