"""Dynamic batching: what waits is answered together as soon as the worker is free, by one thread."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Batching", "FullError"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class FullError(Exception):
    """So many wait that no more are taken."""


@dataclass
class _Waiting(Generic[Item, Result]):
    item: Item
    deadline: float  # by time.monotonic()
    future: Future[Result] = field(default_factory=Future)


class Batching(Generic[Item, Result]):
    """Answers items in batches; one that comes alone is answered at once, and waits for no others.

    An item whose future is cancelled, or whose deadline is over, before its batch begins costs nothing. Where a batch
    fails, its items are tried one by one, so that one does not spoil the others.

    Args:
        work: answers a batch, one result an item; it is called by one thread of its own.
        max_batch: items answered together.
        max_waiting: items that wait; more are refused.
        dropped: is told why an item is dropped: ``late`` or ``gone``.
        answered: is told how many items a batch had, and the seconds that it took.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result]],
        *,
        name: str,
        max_batch: int,
        max_waiting: int,
        dropped: Callable[[str], None] = lambda _: None,
        answered: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._work = work
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._dropped, self._answered = dropped, answered
        self._queue: queue.Queue[_Waiting[Item, Result] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def n_waiting(self) -> int:
        """How many items wait."""
        return self._queue.qsize()

    def submit(self, items: Sequence[Item], *, deadline: float) -> list[asyncio.Future[Result]]:
        """Return a future for each item: all are taken, or none; it is called in one event loop alone.

        A future raises `TimeoutError` where its deadline, by `time.monotonic`, is over before its batch begins.

        Raises:
            FullError: too many wait.
        """
        if self.n_waiting() + len(items) > self._max_waiting:
            raise FullError
        futures = []
        for item in items:
            waiting: _Waiting[Item, Result] = _Waiting(item, deadline)
            futures.append(asyncio.wrap_future(waiting.future))
            self._queue.put(waiting)
        return futures

    def close(self) -> None:
        """Answer what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            together = [self._queue.get()]
            while len(together) < self._max_batch and together[-1] is not None:
                try:
                    together.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            is_open = together[-1] is not None
            wanted = [waiting for waiting in together if waiting is not None and self._is_wanted(waiting)]
            if wanted:
                start = time.perf_counter()
                self._answer(wanted)
                self._answered(len(wanted), time.perf_counter() - start)

    def _is_wanted(self, waiting: _Waiting[Item, Result]) -> bool:
        if not waiting.future.set_running_or_notify_cancel():
            self._dropped("gone")
            return False
        if waiting.deadline <= time.monotonic():
            self._dropped("late")
            waiting.future.set_exception(TimeoutError())
            return False
        return True

    def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            results = self._work([waiting.item for waiting in batch])
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for waiting in batch:
                self._answer([waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            waiting.future.set_result(result)
