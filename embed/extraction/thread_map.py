"""Work shared out among threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

__all__ = ["completed", "ordered_map"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def completed(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    n_workers: int,
    n_ahead: int,
    start_worker: Callable[[], object] | None = None,
) -> Iterator[Result]:
    """Yield ``function(item)`` of each item as it is done, in any order; at most `n_ahead` wait or run at a time.

    After the first error, and after a Ctrl-C that comes while results are awaited, nothing new is begun; what is
    running is finished and yielded, and then the error is raised.
    """
    rest = iter(items)
    pending: set[Future[Result]] = set()
    error: BaseException | None = None
    with ThreadPoolExecutor(n_workers, thread_name_prefix="worker", initializer=start_worker) as pool:
        try:
            while error is None:
                try:
                    for item in islice(rest, n_ahead - len(pending)):
                        pending.add(pool.submit(function, item))
                    done = wait(pending, return_when=FIRST_COMPLETED).done if pending else set()
                except KeyboardInterrupt as interrupt:
                    error, done = interrupt, set()
                if not pending and error is None:
                    return
                pending -= done
                for future in done:
                    if (failure := future.exception()) is None:
                        yield future.result()
                    else:
                        error = error or failure
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        yield from (future.result() for future in pending if not future.cancelled() and future.exception() is None)
        raise error


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    n_workers: int,
    n_ahead: int,
) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computed by threads that run at most `n_ahead` items ahead."""
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="worker")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= n_ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
