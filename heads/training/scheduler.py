"""Fitting heads: jobs of one shape in stacks, stacks beside each other, each result the one of the job alone."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

import torch

from cache.system.cores import count_cores
from cache.system.out_of_memory import is_out_of_memory
from heads.device import give_memory_back
from heads.errors import HeadError, HeadMemoryError, LabelError
from heads.head_types import head_type
from heads.threads import THREAD_COUNT
from heads.training.direct import fit_direct
from heads.training.gradient_loop import descend
from heads.training.job import Fit, Job, Task
from heads.training.row_source import Source, open_source
from heads.training.stack_planner import plan_stacks

__all__ = ["fit", "fit_jobs"]

log = logging.getLogger("embed_once")

CPU = torch.device("cpu")
MOST_WAITING = 16  # fits that nobody has taken yet; the threads wait before there are more
MOST_ON_CORES = 4  # stacks beside those of a device: each has a copy of the vectors, and answers need cores, too
POLL_S = 0.1


def fit(job: Job, *, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Fit:
    """Return the fit of one job.

    Raises:
        HeadError: the training does not converge, or the head cannot be built or trained.
    """
    ((_, fitted),) = fit_jobs([job], device=device, dtype=dtype)
    if isinstance(fitted, HeadError):
        raise fitted
    return fitted


def fit_jobs(
    jobs: Sequence[Job],
    *,
    device: torch.device,
    dtype: torch.dtype,
    memory: int | None = None,
    stop: threading.Event | None = None,
) -> Iterator[tuple[int, Fit | HeadError]]:
    """Yield each job's index and its fit, as they are done; one that failed yields its error.

    The same seed gives the same head, whichever jobs are fitted beside it, and however many `memory` bytes there are
    for vectors. When the caller stops listening or sets `stop`, training stops after the epoch. With `stop`, the fits
    that are done by then are still yielded; so they are before an exception, Ctrl-C's included, goes on.

    Raises:
        SettingError: the memory is too small for one head's vectors.
    """
    plan = plan_stacks(jobs, like=torch.empty(0, dtype=dtype, device=device), memory=memory)
    sources = _Sources(plan.like)
    results: queue.SimpleQueue = queue.SimpleQueue()
    free = threading.Semaphore(MOST_WAITING)
    stop = stop or threading.Event()

    def give(index: int, fitted: Fit | HeadError) -> None:
        while not (stop.is_set() or free.acquire(timeout=POLL_S)):
            pass
        results.put((index, fitted))

    def device_of(indices: Sequence[int]) -> torch.device:
        return CPU if head_type(jobs[indices[0]].description.name).on_the_cpu else device

    def run(indices: Sequence[int]) -> None:
        try:
            torch.set_num_threads(1)  # of this thread: a core a stack, so that nothing waits for the slowest core
            stack = [jobs[index] for index in indices]
            if stack[0].is_direct:
                give(indices[0], _try_direct(stack[0], device_of(indices)))
                return
            for index, fitted in _try_descend(stack, sources, stop):
                give(indices[index], fitted)
        except BaseException as error:  # noqa: BLE001 - it is raised where the results are taken
            results.put(error)

    n_on_cores = sum(device_of(indices) != device for indices in plan.stacks)
    n_cores = min(n_on_cores, MOST_ON_CORES, max(1, count_cores() - plan.n_parallel))
    n_threads = plan.n_parallel + n_cores
    THREAD_COUNT.enter()
    torch.set_num_threads(max(1, torch.get_num_threads() - n_threads))  # who takes the fits shares the cores
    pool = ThreadPoolExecutor(plan.n_parallel, "stack")
    core_pool = ThreadPoolExecutor(max(1, n_cores), "core")  # beside a device, for which one thread is enough
    try:
        for indices in plan.stacks:
            (pool if device_of(indices) == device else core_pool).submit(run, indices)
        error: BaseException | None = None
        n_left = len(jobs)
        while n_left and error is None and not stop.is_set():
            try:
                result = results.get()
            except KeyboardInterrupt as interruption:
                result = interruption
            free.release()
            if isinstance(result, BaseException):
                error = result
            else:
                n_left -= 1
                yield result
        stop.set()
        _end(pool, core_pool)
        while not results.empty():
            result = results.get()
            if not isinstance(result, BaseException):
                yield result
        if error is not None:
            raise error
    finally:
        stop.set()
        _end(pool, core_pool)
        THREAD_COUNT.leave()


def _end(*pools: ThreadPoolExecutor) -> None:
    """Begin nothing more, and wait for what is under way."""
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    for pool in pools:
        pool.shutdown()


def _try_direct(job: Job, device: torch.device) -> Fit | HeadError:
    try:
        return fit_direct(job, device=device)
    except (HeadError, LabelError) as error:  # of the label: a fold without rows of a second class
        return error if isinstance(error, HeadError) else HeadError(str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        too_large = _too_large(job, device, error)
    give_memory_back(device)  # the error is let go by now: its frames held the tensors
    return too_large


def _try_descend(
    jobs: Sequence[Job], sources: _Sources, stop: threading.Event
) -> Iterator[tuple[int, Fit | HeadError]]:
    """Yield what `descend` does, and an error for each job that is left unfinished.

    Where memory runs out, unfinished jobs are trained in halves, from the start: with the same results.
    """
    waiting = [list(range(len(jobs)))]
    while waiting:
        indices = waiting.pop()
        unfinished = list(indices)
        stack = [jobs[index] for index in indices]
        failure: HeadError
        try:
            for number, fitted in descend(stack, [sources.of(job.task) for job in stack], stop=stop):
                unfinished.remove(indices[number])
                yield indices[number], fitted
            continue
        except (HeadError, MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                failure = _too_large(jobs[unfinished[0]], sources.device, error)
            elif isinstance(error, HeadError):
                failure = error
            else:
                raise
        if isinstance(failure, HeadMemoryError):  # the error is let go by now: its frames held the tensors
            give_memory_back(sources.device)
            if len(unfinished) > 1:
                half = (len(unfinished) + 1) // 2
                waiting += [unfinished[half:], unfinished[:half]]
                log.info(
                    "%d heads together do not fit into the memory of %s, so they are trained in halves.",
                    len(unfinished), sources.device,
                )  # fmt: skip
                continue
        yield from ((index, failure) for index in unfinished)


def _too_large(job: Job, device: torch.device, error: Exception) -> HeadMemoryError:
    words = " ".join(str(error).split())[:200]
    return HeadMemoryError(
        f"Training {job.description.name} expected to fit into the memory of {device}, got: {words}. Free some, use "
        "--device cpu, or lower --batch-size or --hidden-dim."
    )


class _Sources:
    """The sources that stacks are trained from: one for a task while a stack needs it, however many do."""

    def __init__(self, like: torch.Tensor) -> None:
        self.device = like.device
        self._like = like
        self._open: WeakValueDictionary[int, Source] = WeakValueDictionary()
        self._lock = threading.Lock()

    def of(self, task: Task) -> Source:
        with self._lock:
            source = self._open.get(id(task))
            if source is None:
                self._open[id(task)] = source = open_source(task, self._like)
            return source
