"""Which jobs are trained together, and how many stacks beside each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.device import count_parallel
from heads.errors import HeadError, SettingError
from heads.head_types import head_type
from heads.modules.seeded import build_empty
from heads.training.footprint import footprint
from heads.training.job import Job, Task
from heads.training.sampler import WINDOW_ROWS, batch_size_of

__all__ = ["Plan", "plan_stacks", "rounds_at_once", "stack_bytes"]

# On the CPU of parameters and moments, which should stay in a core's share of its cache; elsewhere of all that heads
# take while they are trained, and no more than a fourth of what is free.
STACK_BYTES = {"cpu": 24 * 2**20, "cuda": 8 * 2**30}
FREE_SHARE = 4
BYTES_A_PARAMETER = 16  # itself, its gradient and two moments
# What takes as long as a step by itself, however many heads it has, on a CPU (`tests/benchmarks/race.py --only steps`).
HEADS_A_STEP, FLOPS_A_STEP = 15, 1.2e8
FULL = 2  # the heads of a full stack work so many times as long as its steps take by themselves


@dataclass(frozen=True)
class Plan:
    """Indices of jobs, stack by stack, the longest work first."""

    stacks: list[list[int]]
    n_parallel: int  # stacks that are trained beside each other there
    like: Tensor  # (0,), of the type and on the device that heads compute in


def plan_stacks(jobs: Sequence[Job], *, like: Tensor, memory: int | None = None) -> Plan:
    """Return the plan for jobs: those of one shape in stacks that the device holds well.

    Within a stack equal learning rates and weight decays stand side by side, and so do equal tasks. What is read from
    the disk is held a window a job, and all windows together stay within the memory.

    Raises:
        SettingError: the memory is too small for one window.
    """
    n_parallel = count_parallel(like.device)
    most_heads = len(jobs)
    if memory is not None and (window := max(map(_window_bytes, jobs), default=0) * like.element_size()):
        n_windows = memory // window
        if not n_windows:
            raise SettingError(
                f"--memory: expected room for {WINDOW_ROWS} rows, {math.ceil(window / 2**20)}M at least, got "
                f"{memory // 2**20}M."
            )
        n_parallel = min(n_parallel, n_windows)
        most_heads = n_windows // n_parallel
    groups, most_bytes = _groups(jobs, like)
    stacks = []
    for indices in groups:
        job_bytes = _job_bytes(jobs[indices[0]], like, n_alike=len(indices), otherwise=most_bytes)
        n_together = max(1, min(most_heads, most_bytes // job_bytes))
        n_each = math.ceil(len(indices) / math.ceil(len(indices) / n_together))
        work = job_bytes * n_each * jobs[indices[0]].n_epoch_rows * _n_uses(jobs[indices[0]])
        stacks += [(work, indices[start : start + n_each]) for start in range(0, len(indices), n_each)]
    stacks.sort(key=lambda stack: -stack[0])
    return Plan([indices for _, indices in stacks], max(1, min(n_parallel, len(stacks))), like)


def rounds_at_once(jobs: Sequence[Job]) -> int:
    """Return how many rounds of such jobs, at least 1, are better trained together than one after the other.

    A step of a stack takes a time of its own, however few heads it has: small heads take about as long in a round as in
    several. There are as many as make the heads' work twice that time.
    """
    shapes = {job.shape for job in jobs}
    work = sum(_step_share(job) for job in jobs)
    return max(1, math.ceil(FULL * len(shapes) / work)) if work else 1


def stack_bytes(device: torch.device, *, resident: int = 0) -> int:
    """Return how many bytes a stack may have on a device that holds so many bytes of vectors, too."""
    if device.type != "cuda":
        return STACK_BYTES[device.type]
    free_bytes, _ = torch.cuda.mem_get_info(device)
    free_bytes += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's own, unused
    return min(STACK_BYTES["cuda"], max(free_bytes - resident, 0) // FREE_SHARE)


def _groups(jobs: Sequence[Job], like: Tensor) -> tuple[list[list[int]], int]:
    """Return the indices of jobs that may stand in one stack, in groups, and the bytes that a stack may have.

    Where a device has no room for the vectors of all tasks, each stack has one task.
    """
    tasks: dict[int, int] = {}  # id -> number, by the jobs' order: ids differ from run to run
    for job in jobs:
        tasks.setdefault(id(job.task), len(tasks))
    resident = {id(job.task): _resident_bytes(job.task, like) for job in jobs}
    is_split_by_task = sum(resident.values()) > stack_bytes(like.device)
    groups = defaultdict(list)
    for index, job in enumerate(jobs):
        alone = index if job.is_alone else -1  # also from the same job, if that is asked for twice
        groups[job.shape, tasks[id(job.task)] if is_split_by_task else 0, alone].append(index)
    for indices in groups.values():
        indices.sort(key=lambda index: (*_rates(jobs[index]), tasks[id(jobs[index].task)]))
    combine = max if is_split_by_task else sum
    n_resident = combine(resident.values()) if resident else 0
    return list(groups.values()), stack_bytes(like.device, resident=n_resident)


def _resident_bytes(task: Task, like: Tensor) -> int:
    """Return what a task's vectors take of a device; the CPU's memory is what `--memory` is about."""
    if like.device.type == "cpu" or task.on_disk:
        return 0
    return len(task.targets) * task.total_dim * like.element_size()


def _job_bytes(job: Job, like: Tensor, *, n_alike: int, otherwise: int) -> int:
    """Return what a job takes of its stack's bytes; `otherwise` where that is not known."""
    if like.device.type == "cpu" or n_alike == 1:  # who is alone has no share to keep
        return BYTES_A_PARAMETER * max(1, _n_parameters(job))
    n_bytes = footprint(job, like.dtype)
    return max(1, otherwise) if n_bytes is None else n_bytes + _window_bytes(job) * like.element_size()


def _window_bytes(job: Job) -> int:
    """Return what a job's rows at hand take, for each byte of a number; 0 where they are in memory anyway."""
    return WINDOW_ROWS * job.task.total_dim if job.task.on_disk else 0


def _n_uses(job: Job) -> int:
    """Return how often a step takes a parameter for each row, about: of attention once a token."""
    return job.description.n_tokens if head_type(job.description.name).takes_tokens else 1


def _n_parameters(job: Job) -> int:
    """Return how large a head is; where it is fitted at once, as large as a linear one."""
    if job.is_direct:
        return sum(job.description.dims.values()) * job.description.n_classes
    try:
        return sum(tensor.numel() for tensor in build_empty(job.description).parameters())
    except HeadError:  # which its own stack tells
        return 0


def _step_share(job: Job) -> float:
    """Return how long a head works in a step of its stack, for each second that the step takes by itself."""
    if job.is_direct or job.description.plugin is not None:  # which know no stacks
        return FULL
    batch_size = batch_size_of(job.n_epoch_rows, job.settings.batch_size)
    return 1 / HEADS_A_STEP + 6 * batch_size * _n_parameters(job) / FLOPS_A_STEP


def _rates(job: Job) -> tuple[float, float]:
    return job.settings.learning_rate, job.settings.weight_decay
