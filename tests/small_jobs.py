"""Small jobs for heads: vectors of a picture and a text that tell something of the class, and some rows lack one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from support import BY_STEPS
from torch import Tensor

from heads.data.splitting.splits import Split
from heads.modules.description import HeadDescription
from heads.settings import FitSettings
from heads.training.head_state import Member
from heads.training.job import Job, Task
from heads.training.row_source import open_source

DIMS = {"image": 12, "text": 10}
N_CLASSES = 3
CPU = torch.device("cpu")


def small_task(
    seed: int = 0,
    *,
    n_rows: Sequence[int] = (120, 40, 30),
    shares: Sequence[float] = (1 / 3, 1 / 3, 1 / 3),
    absent: float = 0.2,
    spread: float = 1.5,
    image_spread: float | None = None,
) -> Task:
    """Return training, validation and test rows of classes that occur in `shares`; the classes are always the same."""
    generator, centres = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(99)
    n = sum(n_rows)
    targets = torch.multinomial(torch.tensor(shares), n, replacement=True, generator=generator)
    present = {name: torch.rand(n, generator=generator) >= absent for name in DIMS}
    present["image"] |= ~present["text"]  # no row lacks both
    spreads = {"image": image_spread or spread, "text": spread}
    inputs = {}
    for name, dim in DIMS.items():
        vectors = torch.randn(len(shares), dim, generator=centres)[targets]
        vectors += spreads[name] * torch.randn(n, dim, generator=generator)
        inputs[name] = vectors * present[name][:, None]
    train, validation, test = torch.randperm(n, generator=generator).split(list(n_rows))
    split = Split(train.sort().values.numpy(), validation.sort().values.numpy(), test.sort().values.numpy())
    return Task(inputs=inputs, present=present, targets=targets, split=split)


def small_job(name: str, task: Task | None = None, **changes: object) -> Job:
    """Return a job for the head of this name; `changes` are to the settings, which are quick ones."""
    settings = replace(FitSettings(hidden_dim=16, max_epochs=4, patience=60, schedule="none"), **changes)
    description = HeadDescription(
        name=name,
        dims=DIMS if name in BY_STEPS else {name: DIMS[name]},
        n_classes=N_CLASSES,
        hidden_dim=settings.hidden_dim,
        dropout=settings.dropout,
        n_tokens=settings.n_tokens,
        n_attention_heads=settings.n_attention_heads,
        rank=settings.rank,
        absent=settings.absent if name in BY_STEPS else "zeros",
    )
    return Job(description, task or small_task(), settings)


def answers_of(module: torch.nn.Module, task: Task, rows: object, *, without: str | None = None) -> Tensor:
    """Return the class that a head answers for some rows of a task, one modality taken away from all of them."""
    indices = torch.as_tensor(rows)
    inputs = {name: matrix[indices] for name, matrix in task.inputs.items()}
    present = {name: mask[indices] & (name != without) for name, mask in task.present.items()}
    return module(inputs, present).argmax(1)


def make_member(job):
    """Return the job's member of a stack, with its rows in memory."""
    return Member(0, job, open_source(job.task, torch.empty(0)))
