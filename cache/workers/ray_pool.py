"""Workers of a Ray cluster that take tasks, each of which is done at least once.

Ray's own restarts and retries are not used: a dead actor may keep its place, and a task may hang for good (ray issues
45822 and 62746). A worker that is dead, or at one task for longer than its deadline, is ended and replaced, and its
task is given to another. So a task may be done twice: what it does must bear that.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from cache.errors import EmbedOnceError, SettingError, WorkerError
from cache.version import version_here
from cache.workers.ray_cluster import RaySettings, connected, import_ray, start_arguments, worker_class

__all__ = ["RayPool"]

log = logging.getLogger("embed_once")

ATTEMPTS = 3  # at one task, or at starting workers with none that lives
POLL_S = 0.5
GROW_EVERY_S = 5.0  # how often nodes that came are looked for


@dataclass(eq=False)
class _Worker:
    """An actor of the cluster, and what it does now."""

    actor: Any
    result: Any  # Ray's reference to the result of what it does now: its start, or a task; None while it waits
    task: int | None = None  # its index in the queue
    since_s: float = field(default_factory=time.monotonic)


class _Queue:
    """Tasks by their indices: those that wait, and how often workers were lost at each."""

    def __init__(
        self, tasks: Sequence[Any], describe: Callable[[Any], str], rest_after_loss: Callable[[Any], Any]
    ) -> None:
        self.tasks = list(tasks)
        self.waiting = deque(range(len(tasks)))
        self.n_left = len(tasks)
        self._describe, self._rest_after_loss = describe, rest_after_loss
        self._n_lost = [0] * len(tasks)

    def leave(self, index: int, remainder: Any) -> None:
        """Have what remains of a task done before all others; None where it is done."""
        if remainder is None:
            self.n_left -= 1
            self._n_lost[index] = 0
            return
        if remainder != self.tasks[index]:
            self.tasks[index], self._n_lost[index] = remainder, 0
        self.waiting.appendleft(index)

    def give_back(self, index: int) -> None:
        """Have a task done by another worker.

        Raises:
            WorkerError: it has ended `ATTEMPTS` workers.
        """
        self._n_lost[index] += 1
        self.leave(index, self._rest_after_loss(self.tasks[index]))
        if self._n_lost[index] == ATTEMPTS:
            raise WorkerError(
                f"Expected a worker to do {self._describe(self.tasks[index])}, but {ATTEMPTS} died or hung at it. "
                "What is done is kept. See Ray's logs of that node, give workers more memory or a longer "
                "--task-deadline, and type the same line again."
            )


class RayPool:
    """Workers that are made as ``kind(*arguments)`` on a cluster, inside a ``with`` block.

    Each worker checks that embed-once has the driver's version there. `kind` is a class that can be imported on every
    node, with the method ``do(task)``.

    Raises:
        SettingError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, kind: type, arguments: Sequence[Any], *, settings: RaySettings) -> None:
        self.settings = settings
        self._kind, self._arguments = kind, tuple(arguments)
        self._workers: list[_Worker] = []
        self._starts_failed = 0  # since a worker lived
        self._last_grown_s = float("-inf")  # when it was last tried to start more workers
        self._connection = ExitStack()

    def __enter__(self) -> RayPool:
        self._ray = import_ray()
        self._connection.enter_context(connected(self._ray, self.settings.address))
        self._needs = self.settings.needs([node["Resources"] for node in self._ray.nodes() if node["Alive"]])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            self._end(worker)
        self._workers = []
        self._connection.close()

    def run(
        self,
        tasks: Sequence[Any],
        *,
        describe: Callable[[Any], str] = str,
        rest_after_result: Callable[[Any, Any], Any] = lambda _task, _result: None,
        rest_after_loss: Callable[[Any], Any] = lambda task: task,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield each task with what a worker returned for it, as they are done; workers stay for the next call.

        Args:
            tasks: what ``do`` takes.
            describe: what a message calls a task.
            rest_after_result: returns the task that remains of a task after a result; None where it is done.
            rest_after_loss: returns the task that remains of a task whose worker was lost; None where it is done.

        Raises:
            WorkerError: a task's workers died or hung again and again, or there is no room for a worker.
            EmbedOnceError: a worker raised it.
        """
        queue = _Queue(tasks, describe, rest_after_loss)
        self._last_grown_s = float("-inf")
        active_s = time.monotonic()  # when a worker last was at a task, or ready for one
        while queue.n_left:
            self._grow(queue.n_left)
            self._assign(queue)
            for worker in self._finished():
                try:
                    result = self._ray.get(worker.result)
                except self._ray.exceptions.RayTaskError as error:
                    raise _cause_of(error) from error
                except self._ray.exceptions.RayError as error:  # it is dead, or its node is, with what it had done
                    self._lose(worker, queue, error)
                    continue
                index, worker.task, worker.result = worker.task, None, None
                self._starts_failed = 0
                if index is not None:
                    task = queue.tasks[index]
                    queue.leave(index, rest_after_result(task, result))
                    yield task, result
            for worker in self._overdue():
                self._lose(worker, queue, f"it was at its task for {self.settings.deadline_s:.0f} s")
            if any(worker.task is not None or worker.result is None for worker in self._workers):
                active_s = time.monotonic()
            elif time.monotonic() - active_s > self.settings.deadline_s:
                raise self._no_room()

    @property
    def n_wanted(self) -> int:
        """How many workers there are to be: `settings.n_workers`, or as many as there is room for now."""
        if self.settings.n_workers is not None:
            return self.settings.n_workers
        room = self._ray.cluster_resources()
        return max(1, int(min(room.get(name, 0.0) // need for name, need in self._needs.items())))

    def _grow(self, n_left: int) -> None:
        """Start workers, where there is work and room for more."""
        if self._workers and time.monotonic() - self._last_grown_s < GROW_EVERY_S:
            return
        self._last_grown_s = time.monotonic()
        while len(self._workers) < min(self.n_wanted, n_left):
            self._start()

    def _start(self) -> None:
        if self._starts_failed >= ATTEMPTS:
            raise WorkerError(
                f"Expected workers to start, but {ATTEMPTS} died before they did anything. See Ray's logs, and give "
                "them more memory."
            )
        options = {"num_cpus": self._needs["CPU"], "num_gpus": self.settings.gpus_per_worker}
        actor = self._ray.remote(worker_class()).options(max_restarts=0, max_task_retries=0, **options).remote()
        start = start_arguments(self._kind, self._arguments, n_cores=int(self._needs["CPU"]))
        self._workers.append(_Worker(actor, actor.start.remote(*start)))

    def _assign(self, queue: _Queue) -> None:
        """Give a task to each worker that has none, as long as any waits."""
        for worker in self._workers:
            if worker.result is None and queue.waiting:
                worker.task, worker.since_s = queue.waiting.popleft(), time.monotonic()
                worker.result = worker.actor.do.remote(queue.tasks[worker.task])

    def _finished(self) -> list[_Worker]:
        """Return the workers that have a result; wait `POLL_S` for the first."""
        busy = {worker.result: worker for worker in self._workers if worker.result is not None}
        if not busy:
            time.sleep(POLL_S)
            return []
        first_results, _ = self._ray.wait(list(busy), num_returns=1, timeout=POLL_S)
        all_results, _ = self._ray.wait(list(busy), num_returns=len(busy), timeout=0)
        return [busy[result] for result in dict.fromkeys([*first_results, *all_results])]

    def _overdue(self) -> list[_Worker]:
        now_s = time.monotonic()
        return [
            worker
            for worker in self._workers
            if worker.task is not None and now_s - worker.since_s > self.settings.deadline_s
        ]

    def _lose(self, worker: _Worker, queue: _Queue, reason: Any) -> None:
        """Remove a worker, which may be dead, out of reach, or hang, and have its task done by another.

        Raises:
            WorkerError: the task has ended `ATTEMPTS` workers.
        """
        if worker.task is None:
            self._starts_failed += 1
        log.warning("A worker is gone: %s", " ".join(str(reason).split())[:200])
        self._workers.remove(worker)
        self._last_grown_s = float("-inf")
        self._end(worker)
        if worker.task is not None:
            queue.give_back(worker.task)

    def _end(self, worker: _Worker) -> None:
        try:
            self._ray.kill(worker.actor, no_restart=True)
        except (self._ray.exceptions.RayError, ValueError) as error:  # it is dead already
            log.debug("%s", error)

    def _no_room(self) -> WorkerError:
        needs = " and ".join(f"{need:g} {name}" for name, need in self._needs.items())
        room = self._ray.cluster_resources()
        has = " and ".join(f"{room.get(name, 0):g} {name}" for name in self._needs)
        return WorkerError(
            f"Expected the cluster to start a worker that needs {needs} within {self.settings.deadline_s:.0f} s, but "
            f"none did (it has {has} in all). What is done is kept. Ask for less, or wait until it has room."
        )


def _cause_of(error: Any) -> BaseException:
    """Return the named error that a worker raised; for any other error Ray's, which has the worker's traceback."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ImportError):  # of the package, or of a name that another version lacks
        return SettingError(
            f"Expected embed-once {version_here()} on every node, as the driver has it, but one lacks it or has "
            f"another ({cause}). Install it there."
        )
    return cause if isinstance(cause, EmbedOnceError) else error
