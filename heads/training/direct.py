"""Heads that are fitted at once and not by steps: a convex problem, a look-up, or a model of scikit-learn's."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from heads.errors import HeadError
from heads.modules.centroids import fit_centroids
from heads.modules.logistic import fit_logistic
from heads.modules.majority import fit_majority
from heads.modules.neighbours import fit_neighbours
from heads.modules.sklearn_baselines import BASELINES, fit_baseline
from heads.settings import DIRECT
from heads.training.head_state import class_weights
from heads.training.job import Fit, Job
from heads.training.row_source import MemorySource, View

__all__ = ["check_in_memory", "fit_direct"]


def check_in_memory(names: Iterable[str], *, on_disk: bool) -> None:
    """Check that none of the heads named needs vectors in memory that are on the disk.

    Raises:
        HeadError: one does.
    """
    for name in names:
        if on_disk and name in DIRECT and name != "majority":
            raise HeadError(
                f"{name} must have all vectors in memory, however --memory leaves them on the disk. Give it more, or "
                "leave this head out."
            )


def fit_direct(job: Job, *, device: torch.device) -> Fit:
    """Return the fit of one of `heads.settings.DIRECT`; what it chooses by itself, it chooses on the validation rows.

    All is computed in float32.

    Raises:
        HeadError: the vectors are on the disk.
        LabelError: the training rows are all of one class.
    """
    started = time.monotonic()
    name, task = job.description.name, job.task
    if name == "majority":
        train = torch.from_numpy(task.split.train)
        module = fit_majority(job.description.dims, task.codes, train, n_classes=job.description.n_classes)
        return Fit(module.eval(), job.description, 0, [], time.monotonic() - started)
    check_in_memory([name], on_disk=task.on_disk)
    names = sorted(job.description.dims)
    view = MemorySource(task, torch.empty(0, device=device)).view(torch.arange(len(task.codes)), names)
    head, chosen = _fit(job, view)
    description = replace(job.description, **chosen)
    return Fit(head.cpu().eval().requires_grad_(False), description, 0, [], time.monotonic() - started)


def _fit(job: Job, view: View) -> tuple[nn.Module, dict[str, Any]]:
    """Return the fitted head, and what its description must say besides to build it again."""
    name, n_classes, device = job.description.name, job.description.n_classes, view.codes.device
    data = (view.inputs, view.present, view.codes)
    train, validation = (
        torch.from_numpy(rows).to(device) for rows in (job.task.split.train, job.task.split.validation)
    )
    counts = torch.bincount(job.train_codes, minlength=n_classes)
    weights = class_weights(counts, job.settings.class_weights)
    row_weights = weights.to(device)[view.codes.clamp_min(0)]  # (N,)
    match name:
        case "centroids":
            return fit_centroids(*data, n_classes=n_classes, train=train, validation=validation).module, {}
        case "neighbours":
            head = fit_neighbours(*data, n_classes=n_classes, train=train, validation=validation).module
            return head, {"n_stored": len(head.get_buffer("stored"))}
        case "logistic":
            folds = [(train, validation)]
            (logistic,) = fit_logistic(*data, n_classes=n_classes, folds=folds, row_weights=row_weights)
            return logistic.module, {}
        case _ if name in BASELINES:
            seed = job.settings.seed % 2**32  # scikit-learn takes no larger one
            baseline = fit_baseline(
                name, *data, n_classes=n_classes, train=train, validation=validation, row_weights=row_weights, seed=seed
            )
            return baseline.module, {}
    raise HeadError(f"{name} must be a head that is fitted at once, however it is none.")
