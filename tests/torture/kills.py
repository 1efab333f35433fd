"""SIGKILL before a step that changes the disk, or amid one that writes."""

from __future__ import annotations

from collections.abc import Callable

from torture.campaign import Campaign, Tools, Trial
from torture.extraction import check_goes_on, run_disturbed, starts


def prepare(tools: Tools) -> Callable[[Trial], None]:
    all_starts = starts(tools)
    cases = [(start, at) for start in all_starts for at in range(1, len(start.steps) + 1)]

    def kill(trial: Trial) -> None:
        start, at = tools.pick(cases, trial.number)
        where = f"killed at step {at}, {start.steps[at - 1]}"
        acknowledged = run_disturbed(tools, trial, start, where, writes={"at": at})
        trial.counts["kills"] += 1
        check_goes_on(tools, trial, start, trial.folder / "shop", acknowledged, where)

    return kill


CAMPAIGN = Campaign(
    "kills", "SIGKILL before each write, fsync, rename and unlink of an extraction, or amid it", prepare
)
