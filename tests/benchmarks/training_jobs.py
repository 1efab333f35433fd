"""Jobs for heads on drawn vectors around class centres, trained and scored: what benchmarks of training share."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from support import class_vectors

from heads.data.splitting.splits import Split
from heads.device import find_dtype
from heads.modules.description import HeadDescription
from heads.modules.parts.standardiser import Standardise
from heads.settings import FitSettings
from heads.training.job import Fit, Job, Task
from heads.training.scheduler import fit_jobs

__all__ = ["DIMS", "N_CLASSES", "N_FOLDS", "draw_vectors", "job_of", "tasks_of", "test_accuracy", "trained"]

DIMS = {"image": 512, "text": 768}
N_CLASSES, N_FOLDS = 80, 5
SPREAD = {"image": 7.0, "text": 7.0}  # of the rows around their class's centre: one modality alone is not enough


def draw_vectors(n_rows: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return vectors {modality: (N, D) float32} and targets (N,)."""
    targets = np.random.default_rng(seed).integers(0, N_CLASSES, n_rows)
    vectors = {
        name: class_vectors(targets, dim, spread=SPREAD[name], seed=seed + n + 1)
        for n, (name, dim) in enumerate(DIMS.items())
    }
    return vectors, targets


def tasks_of(vectors: dict[str, np.ndarray], targets: np.ndarray, n_folds: int = N_FOLDS) -> list[Task]:
    """Return a task for each fold: 20 % to test on, 15 % to stop by, the rest to train on."""
    inputs = {name: torch.from_numpy(matrix) for name, matrix in vectors.items()}
    present = {name: torch.ones(len(targets), dtype=torch.bool) for name in inputs}
    folds = np.array_split(np.random.default_rng(9).permutation(len(targets)), N_FOLDS)
    tasks = []
    for n in range(n_folds):
        learned = np.concatenate([fold for m, fold in enumerate(folds) if m != n])
        n_validation = int(0.15 * len(targets))
        split = Split(np.sort(learned[n_validation:]), np.sort(learned[:n_validation]), np.sort(folds[n]))
        standardise = Standardise(DIMS).fit(inputs, present, torch.from_numpy(split.train))
        tasks.append(Task(inputs, present, torch.from_numpy(targets), split, standardise=standardise))
    return tasks


def job_of(name: str, task: Task, settings: FitSettings) -> Job:
    """Return a job of the head `name`."""
    dims = {name: DIMS[name]} if name in DIMS else DIMS
    description = HeadDescription(
        name=name, dims=dims, n_classes=N_CLASSES, hidden_dim=settings.hidden_dim, dropout=settings.dropout,
        n_tokens=settings.n_tokens, n_attention_heads=settings.n_attention_heads, rank=settings.rank,
    )  # fmt: skip
    return Job(description, task, settings)


def trained(jobs: Sequence[Job], device: torch.device, precision: str = "auto") -> tuple[list[Fit], float]:
    """Return the fits and the seconds they took together."""
    started = time.perf_counter()
    fits = dict(fit_jobs(jobs, device=device, dtype=find_dtype(precision, device)))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return [fits[number] for number in range(len(jobs))], time.perf_counter() - started


def test_accuracy(job: Job, fit: Fit) -> float:
    """Return the accuracy on the test rows."""
    rows = torch.from_numpy(job.task.split.test)
    inputs = {name: job.task.inputs[name][rows] for name in DIMS}
    present = {name: job.task.present[name][rows] for name in DIMS}
    with torch.inference_mode():
        answers = fit.module(job.task.standardise(inputs, present), present).argmax(1)
    return float((answers == job.task.targets[rows]).float().mean())
