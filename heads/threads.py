"""torch's threads: one for each piece of work, since several that share an operation wait for each other.

A thread sets their number for itself, and yet threads that begin later inherit it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["THREAD_COUNT", "ThreadCount", "side_by_side"]

MOST_AT_ONCE = 8  # pieces of work, so that memory is bounded

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class ThreadCount:
    """Remember torch's number of threads while something changes it, and set it again.

    Trainings may overlap, in threads of the caller's. The number is the one before the first of those under way: a
    thread that begins later finds what another one has set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._n_threads = 0

    def enter(self) -> None:
        """Remember the number, unless somebody changes it already."""
        with self._lock:
            if not self._n_users:
                self._n_threads = torch.get_num_threads()
            self._n_users += 1

    def leave(self) -> None:
        """Set the number again, in this thread and for those to come."""
        with self._lock:
            self._n_users -= 1
            torch.set_num_threads(self._n_threads)


THREAD_COUNT = ThreadCount()


def side_by_side(call: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield the result of each piece of work, in their order; as many are under way as torch has threads here.

    Threads that share a piece meet after each operation, and on a busy machine one always waits for another: training
    for an epoch and all answers took five times the CPU time so, and ten times as long.
    """
    pieces, n_threads = list(pieces), torch.get_num_threads()
    n_at_once = min(n_threads, len(pieces), MOST_AT_ONCE)
    if n_at_once < 2:
        yield from map(call, pieces)
        return

    def called(piece: Piece) -> Result:
        torch.set_num_threads(n_threads // n_at_once)
        return call(piece)

    THREAD_COUNT.enter()
    try:
        with ThreadPoolExecutor(n_at_once, "piece") as pool:
            under_way: deque[Future[Result]] = deque()
            for piece in pieces:
                under_way.append(pool.submit(called, piece))
                if len(under_way) > n_at_once:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
    finally:
        THREAD_COUNT.leave()
        torch.set_num_threads(n_threads)  # as before, also where other trainings still change it
