"""What shards have done, as whoever writes the cache finds it: parts that could not be taken, and hints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache import CacheLockedError, Journal, SpecConflictError
from embed.contents.hash_cache import Hints
from embed.extraction.shard import Shard

__all__ = ["check_shards", "open_hints"]

LOOK_AGAIN_S = 0.2
LAST_WORKERS_S = 60.0  # in which an engine's workers end, too, where their run has failed or was killed


def check_shards(journal: Journal) -> None:
    """Check that what shards have done could be taken.

    Workers of an engine have some seconds to end, since nobody but their run can be waited for; a shard that somebody
    started is told at once.

    Raises:
        CacheLockedError: some are still at work.
        SpecConflictError: some have made vectors otherwise.
    """
    until = time.monotonic() + LAST_WORKERS_S
    while _is_waited_for(journal) and time.monotonic() < until:
        time.sleep(LOOK_AGAIN_S)
        journal.take_shards()
    if journal.working_shards:
        n_working = len(journal.working_shards)
        names = ", ".join(list(journal.working_shards)[:3]) + (", …" if n_working > 3 else "")
        lock_path = next((path for path in journal.working_shards.values() if path), None)
        killed = ""
        if lock_path:
            killed = f" If one was killed, which no lock tells here, first remove its lock, such as {lock_path}."
        raise CacheLockedError(
            f"Expected all shards to be done, but {n_working} {'is' if n_working == 1 else 'are'} still at work "
            f"({names} in {journal.folder}). What they have done is kept. Wait for their end and type the same line "
            f"again.{killed}"
        )
    if journal.conflicts:
        raise SpecConflictError(
            f"Expected all shards to be run with the same settings, but {journal.conflicts[0]}. Nothing is lost. "
            "Remove that folder to have its contents encoded again as the others were."
        )


def _is_waited_for(journal: Journal) -> bool:
    """Return whether all who are at work are an engine's workers."""
    names = journal.working_shards
    return bool(names) and not journal.is_shard and not any(Shard.is_name(name) for name in names)


@contextmanager
def open_hints(cache_path: Path, journal: Journal, *, is_ignored: bool) -> Iterator[Hints]:
    """Yield the hints beside the cache, with those that shards have left taken in; or a shard's own, and these."""
    path, other_paths = cache_path.with_name(cache_path.name + ".hints"), journal.hint_paths
    if journal.is_shard:
        (path,), other_paths = other_paths, [path]
    with Hints(path, folder=journal.folder, is_ignored=is_ignored, others=other_paths) as hints:
        yield hints
    if not journal.is_shard and hints.is_saved:
        for other_path in other_paths:
            other_path.unlink()
