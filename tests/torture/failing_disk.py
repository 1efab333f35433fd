"""Writes that fail, once or from then on, writes that take half, and an fsync that fails alone."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable

from failing_writes import ERRNOS

from torture.campaign import Campaign, Tools, Trial
from torture.extraction import check_goes_on, run_disturbed, starts


def prepare(tools: Tools) -> Callable[[Trial], None]:
    cases = []
    for start in starts(tools):
        for at, (name, number) in enumerate(zip(start.steps, itertools.cycle(ERRNOS), strict=False), 1):
            cases += [
                (start, {"at": at, "do": "fail", "errno": number, "is_lasting": lasts}) for lasts in (False, True)
            ]
            if name in ("write", "pwrite"):
                cases.append((start, {"at": at, "do": "short"}))
        n_syncs = start.steps.count("fsync")
        cases += [
            (start, {"at": at, "do": "fail", "errno": errno.EIO, "only": "fsync"}) for at in range(1, n_syncs + 1)
        ]
        cases.append((start, {"at": 1, "do": "short", "is_lasting": True}))

    def fail(trial: Trial) -> None:
        start, fault = tools.pick(cases, trial.number)
        name = fault.get("only") or start.steps[fault["at"] - 1]
        number = errno.errorcode.get(fault.get("errno", 0), "half")
        where = f"{number} at {name} {fault['at']}{' and later' if fault.get('is_lasting') else ''}"
        acknowledged = run_disturbed(tools, trial, start, where, writes=fault)
        trial.counts["failures" if fault["do"] == "fail" else "short writes"] += 1
        check_goes_on(tools, trial, start, trial.folder / "shop", acknowledged, where)

    return fail


CAMPAIGN = Campaign(
    "failing-disk",
    "ENOSPC, EIO, EDQUOT and EROFS at each write, fsync and rename; short writes; failing fsyncs",
    prepare,
)
