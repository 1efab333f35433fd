"""Reads that fail: each that opens, reads, lists or asks, of extractions from each start, with each errno in turn."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable

from extracted import run_undisturbed

from torture.campaign import Campaign, Tools, Trial
from torture.extraction import check_goes_on, run_disturbed, starts

ERRNOS = (errno.EIO, errno.ENOMEM, errno.EMFILE, errno.EACCES)


def prepare(tools: Tools) -> Callable[[Trial], None]:
    cases = []
    for start in starts(tools):
        _, log = run_undisturbed(start.folder, tools.commands(), "read", merged_parts=2, reads={})
        steps = [line["step"] for line in log if "step" in line]
        cases += [
            (start, name, {"fail_at": at, "errno": number})
            for at, (name, number) in enumerate(zip(steps, itertools.cycle(ERRNOS), strict=False), 1)
        ]

    def fail(trial: Trial) -> None:
        start, name, fault = tools.pick(cases, trial.number)
        where = f"{errno.errorcode[fault['errno']]} at {name} {fault['fail_at']}"
        acknowledged = run_disturbed(tools, trial, start, where, reads=fault)
        trial.counts["reads that failed"] += 1
        check_goes_on(tools, trial, start, trial.folder / "shop", acknowledged, where)

    return fail


CAMPAIGN = Campaign("failing-reads", "EIO, ENOMEM, EMFILE and EACCES at each read of an extraction", prepare)
