"""Fitting heads: jobs of one shape in stacks, stacks beside each other, each result the one of the job alone."""

from __future__ import annotations

import math
import queue
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from heads.descent import descend
from heads.device import count_lanes
from heads.errors import HeadError
from heads.job import Fit, Job, Task
from heads.stack import build_seeded

__all__ = ["fit", "fit_jobs", "plan_stacks"]

CPU = torch.device("cpu")
CPU_STACK_BYTES = 12 * 2**20  # of parameters, gradients and moments: what a core's share of the cache holds
CUDA_STACK_BYTES = 8 * 2**30
BYTES_A_PARAMETER = 16


def fit(job: Job, *, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Fit:
    """Return the fit of one job.

    Raises:
        HeadError: the training does not converge.
    """
    ((_, found),) = fit_jobs([job], device=device, dtype=dtype)
    if isinstance(found, HeadError):
        raise found
    return found


def fit_jobs(
    jobs: Sequence[Job], *, device: torch.device, dtype: torch.dtype, n_lanes: int | None = None
) -> Iterator[tuple[int, Fit | HeadError]]:
    """Yield each job's place and its fit, as they are done; one that diverged yields its error.

    The same seed gives the same head, whichever jobs are fitted beside it. When the caller stops listening, training
    stops after the epoch.
    """
    stacks = plan_stacks(jobs, device=device)
    moved = _moved_tasks(jobs, dtype, device)
    found: queue.SimpleQueue = queue.SimpleQueue()
    stop = threading.Event()

    def run(places: Sequence[int]) -> None:
        try:
            torch.set_num_threads(1)  # of this thread: a core a stack, so that nothing waits for the slowest core
            own = [Job(jobs[place].description, moved[id(jobs[place].task)], jobs[place].settings) for place in places]
            for place, fit in descend(own, device=device, stop=stop):
                found.put((places[place], fit))
        except BaseException as error:  # noqa: BLE001 - it is raised where the results are taken
            found.put(error)

    n_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(max(1, min(n_lanes or count_lanes(device), len(stacks))), "lane")
    try:
        for places in stacks:
            pool.submit(run, places)
        for _ in jobs:
            result = found.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


def plan_stacks(jobs: Sequence[Job], *, device: torch.device) -> list[list[int]]:
    """Return the places of the jobs that are trained together, the longest work first.

    Within a stack equal learning rates and weight decays stand side by side, and so do equal tasks.
    """
    alike = defaultdict(list)
    for place, job in enumerate(jobs):
        alike[job.shape].append(place)
    stacks = []
    for places in alike.values():
        first = jobs[places[0]]
        size_bytes = BYTES_A_PARAMETER * sum(
            tensor.numel() for tensor in build_seeded(first.description, 0).parameters()
        )
        most = CPU_STACK_BYTES if device.type == "cpu" else CUDA_STACK_BYTES
        n_together = max(1, most // size_bytes)
        n_stacks = math.ceil(len(places) / n_together)
        places.sort(key=lambda place: _neighbourhood(jobs[place]))
        per_stack = math.ceil(len(places) / n_stacks)
        stacks += [
            (size_bytes * per_stack * first.n_epoch_rows, places[start : start + per_stack])
            for start in range(0, len(places), per_stack)
        ]
    return [places for _, places in sorted(stacks, key=lambda stack: -stack[0])]


def _neighbourhood(job: Job) -> tuple[float, float, int]:
    return job.settings.learning_rate, job.settings.weight_decay, id(job.task)


def _moved_tasks(jobs: Sequence[Job], dtype: torch.dtype, device: torch.device) -> dict[int, Task]:
    """Return each task with its vectors in the type of the training, {id: task}: one copy, however many jobs use it."""
    tasks = {id(job.task): job.task for job in jobs}
    return {key: task.to(dtype, device) for key, task in tasks.items()}
