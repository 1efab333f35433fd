"""Work shared out among threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from cache.console.progress import Progress
from cache.system.cores import count_cores
from embed.contents.file_ranges import is_inside_file

__all__ = ["PICTURES_TOGETHER", "completed", "map_pictures", "ordered_map"]

PICTURES_TOGETHER = 64  # a task, so that small files do not cost more to hand out than to read

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
    remaining = iter(items)
    pending: dict[Future[Result], None] = {}  # in their order, so that what is done at once is yielded in it
    error: BaseException | None = None
    with ThreadPoolExecutor(n_workers, thread_name_prefix="worker", initializer=start_worker) as pool:
        try:
            while error is None:
                try:
                    for item in islice(remaining, n_ahead - len(pending)):
                        pending[pool.submit(function, item)] = None
                    done = wait(pending, return_when=FIRST_COMPLETED).done if pending else set()
                    finished = [future for future in pending if future in done]
                except KeyboardInterrupt as interrupt:
                    error, finished = interrupt, []
                if not pending and error is None:
                    return
                for future in finished:
                    del pending[future]
                    if (failure := future.exception()) is None:
                        yield future.result()
                    else:
                        error = error or failure
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        yield from (future.result() for future in pending if not future.cancelled() and future.exception() is None)
        raise error


def map_pictures(
    function: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    cells: Iterable[str],
    *,
    label: str,
    n_workers: int | None,
    n_together: int = PICTURES_TOGETHER,
) -> Iterator[list[Result]]:
    """Yield in order what threads make of several pictures at a time, and show the progress.

    Pictures inside other files are read one by one in their order: a reader that goes back would begin anew, and decode
    all of a row group again.
    """
    n_workers = n_workers or count_cores()
    n_together = 1 if any(map(is_inside_file, cells)) else n_together
    blocks = (items[start : start + n_together] for start in range(0, len(items), n_together))
    with Progress(label, len(items), unit="file") as progress:
        for results in ordered_map(function, blocks, n_workers=n_workers, n_ahead=4 * n_workers):
            progress.advance(len(results))
            yield results


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_workers: int, n_ahead: int
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
