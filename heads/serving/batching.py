"""Dynamic batching: items that wait are answered together as soon as the worker, one thread, is free."""

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
    """Too many items wait for another to be taken."""


@dataclass
class _WaitingItem(Generic[Item, Result]):
    item: Item
    deadline: float  # by time.monotonic()
    future: Future[Result] = field(default_factory=Future)


class Batching(Generic[Item, Result]):
    """Answers items in batches; an item that comes alone is answered at once and waits for no others.

    An item is dropped if its future is cancelled or its deadline over before its batch begins. Where a batch fails, its
    items are tried one by one, so that one does not spoil the others.

    Args:
        work: answers a batch, one result an item; it is called by one thread of its own.
        max_batch: items answered together.
        max_waiting: items that wait; more are refused.
        dropped: called with the reason why an item is dropped: ``late`` or ``gone``.
        answered: called with a batch's number of items and the seconds that it took.
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
        self._queue: queue.Queue[_WaitingItem[Item, Result] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def n_waiting(self) -> int:
        """How many items wait."""
        return self._queue.qsize()

    def submit(self, items: Sequence[Item], *, deadline: float) -> list[asyncio.Future[Result]]:
        """Return a future for each item; all items are taken, or none. Call it in one event loop only.

        A future raises `TimeoutError` if its deadline, by `time.monotonic`, is over before its batch begins.

        Raises:
            FullError: too many wait.
        """
        if self.n_waiting() + len(items) > self._max_waiting:
            raise FullError
        futures = []
        for item in items:
            waiting: _WaitingItem[Item, Result] = _WaitingItem(item, deadline)
            futures.append(asyncio.wrap_future(waiting.future))
            self._queue.put(waiting)
        return futures

    def close(self) -> None:
        """Answer the items that wait, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while len(batch) < self._max_batch and batch[-1] is not None:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            is_open = batch[-1] is not None
            open_items = [waiting for waiting in batch if waiting is not None and self._is_wanted(waiting)]
            if open_items:
                start = time.perf_counter()
                self._answer(open_items)
                self._answered(len(open_items), time.perf_counter() - start)

    def _is_wanted(self, waiting: _WaitingItem[Item, Result]) -> bool:
        if not waiting.future.set_running_or_notify_cancel():
            self._dropped("gone")
            return False
        if waiting.deadline <= time.monotonic():
            self._dropped("late")
            waiting.future.set_exception(TimeoutError())
            return False
        return True

    def _answer(self, batch: list[_WaitingItem[Item, Result]]) -> None:
        try:
            results = self._work([waiting.item for waiting in batch])
        except Exception as error:  # noqa: BLE001 - it is raised to those who wait for the answer
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for waiting in batch:
                self._answer([waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            waiting.future.set_result(result)
