"""A file system without locks: whoever made the lock's file writes alone, and a person removes that of one killed."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from extracted import acknowledged_keys

from cache import Journal
from torture.campaign import UNNAMED, WRONG, Campaign, Tools, Trial, require
from torture.extraction import ORDER, check_exit, check_goes_on, check_nothing_lost, starts

NUMBERS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def prepare(tools: Tools) -> Callable[[Trial], None]:
    cases = [(start, at) for start in starts(tools) for at in range(1, len(start.steps) + 1)]

    def kill(trial: Trial) -> None:
        start, at = tools.pick(cases, trial.number)
        folder, number = Path(shutil.copytree(start.folder, trial.folder / "shop")), NUMBERS[trial.number % 3]
        where = f"{start.kind}, without locks, killed at step {at}"
        code, stderr, log = tools.commands().run(folder, **ORDER, writes={"at": at}, without_locks=number)
        check_exit(code, stderr, where)
        acknowledged = acknowledged_keys(log) | start.keys
        check_nothing_lost(folder, acknowledged, where)
        trial.counts["kills"] += code == -9
        lock = folder / "e.h5.journal" / "lock"
        if lock.exists():
            remove_stale_lock(tools, folder, number, where)
            check_nothing_lost(folder, acknowledged, where)
        check_locks(tools, trial, folder, number, where)
        check_goes_on(tools, trial, start, folder, acknowledged, where)

    return kill


def remove_stale_lock(tools: Tools, folder: Path, number: int, where: str) -> None:
    """Check that the next run is told to remove the lock's file, and do that."""
    code, stderr, _ = tools.commands().run(folder, **ORDER, without_locks=number)
    advice = re.search(r"If it has ended, remove (\S+) and type the same line again", stderr)
    require(code == 1 and advice, UNNAMED, f"{where}, then: {code} {stderr}")
    (folder / advice[1]).unlink()


def check_locks(tools: Tools, trial: Trial, folder: Path, number: int, where: str) -> None:
    """Check that of two writers at once one is refused, whichever of the two has locks."""
    with Journal(folder / "e.h5"):
        code, stderr, _ = tools.commands().run(folder, **ORDER, without_locks=number)
        require(code == 1 and "One writer at a time" in stderr, WRONG, f"{where}: a second writer: {code} {stderr}")
    trial.counts["second writers refused"] += 1


CAMPAIGN = Campaign("no-locks", "file systems that refuse locks, and writers killed on them", prepare)
