"""Extractions that something happens to: their starts, and what must hold after it and after the same command again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extracted import (
    EXTRACT,
    N_CONTENTS,
    STARTS,
    acknowledged_keys,
    cache_content,
    keys_on_disk,
    n_encoded,
    prepare_start,
    run_undisturbed,
)

from cache import verify
from cache.errors import CacheError
from torture.campaign import AGAIN, LOST, UNNAMED, WRONG, LossError, Tools, Trial, require

CODES = (0, 1, 130, 143, -9)
ORDER: dict[str, Any] = {"command": "embed-extract", "arguments": EXTRACT, "merged_parts": 2}


@dataclass(frozen=True)
class Start:
    """A folder to begin in, the steps of a run in it that nothing disturbs, and what the cache holds then."""

    kind: str
    folder: Path
    steps: list[str]
    whole: tuple[list, ...]
    keys: set[str]  # that are acknowledged already


def starts(tools: Tools) -> list[Start]:
    """Return the starts, which are made once a run."""
    if "starts" in tools.cached:
        return tools.cached["starts"]
    prepared = tools.cached["starts"] = []
    for kind in STARTS:
        folder = prepare_start(kind, tools.commands(), tools.folder / "starts" / kind)
        whole, log = run_undisturbed(folder, tools.commands(), merged_parts=2, writes={})
        steps = [line["step"] for line in log if "step" in line]
        prepared.append(Start(kind, folder, steps, cache_content(whole), keys_on_disk(folder)))
    return prepared


def check_nothing_lost(folder: Path, acknowledged: set[str], where: str) -> None:
    """Check that nothing acknowledged is gone, and that a cache is whole."""
    try:
        missing = acknowledged - keys_on_disk(folder)
        problems = verify(folder / "e.h5") if (folder / "e.h5").exists() else []
    except CacheError as error:
        raise LossError(LOST, f"{where}: {error}") from error
    require(not missing, LOST, f"{where}: {len(missing)} of {len(acknowledged)} acknowledged vectors")
    problems = [problem for problem in problems if "The journal's part" not in problem]  # a damaged one holds nothing
    require(not problems, WRONG, f"{where}: {problems}")


def check_exit(code: int, stderr: str, where: str) -> None:
    """Check that a run ended with one of the known exit codes, and no traceback."""
    require(code in CODES and "Traceback" not in stderr, UNNAMED, f"{where}: {code} {stderr}")


def check_goes_on(tools: Tools, trial: Trial, start: Start, folder: Path, acknowledged: set[str], where: str) -> None:
    """Check that the same command does the rest, and nothing twice."""
    code, stderr, log = tools.commands().run(folder, **ORDER)
    require(code == 0, UNNAMED, f"{where}, then: {code} {stderr}")
    require(not acknowledged_keys(log) & acknowledged, AGAIN, where)
    require(n_encoded(log) <= N_CONTENTS - len(acknowledged), AGAIN, f"{where}: {n_encoded(log)} contents")
    require(cache_content(folder) == start.whole, WRONG, f"{where}: the cache is another than that of a run without it")
    require(not (folder / "e.h5.journal").exists(), WRONG, f"{where}: a journal is left")
    trial.counts["runs that went on"] += 1


def run_disturbed(tools: Tools, trial: Trial, start: Start, where: str, **order: Any) -> set[str]:
    """Have something happen to a run, check what must hold, and return all that was acknowledged."""
    folder = trial.folder / "shop"
    if not folder.exists():
        shutil.copytree(start.folder, folder)
    code, stderr, log = tools.commands().run(folder, **{**ORDER, **order})
    where = f"{start.kind}, {where}"
    check_exit(code, stderr, where)
    acknowledged = acknowledged_keys(log) | start.keys
    trial.counts["acknowledged vectors"] += len(acknowledged)
    check_nothing_lost(folder, acknowledged, where)
    return acknowledged
