"""SIGTERM, Ctrl-C or SIGKILL while a run's folder is written: it is absent or whole, and the same line goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from cache.errors import EmbedOnceError
from heads.prediction.run import Run
from torture.campaign import UNNAMED, WRONG, Campaign, LossError, Tools, Trial, require
from torture.extraction import check_exit
from torture.trained import TRAIN, trained_start


def prepare(tools: Tools) -> Callable[[Trial], None]:
    whole = Path(shutil.copytree(trained_start(tools), tools.folder / "training that is whole"))
    code, stderr, log = tools.commands().run(whole, command="heads-train", arguments=TRAIN, writes={})
    assert code == 0, stderr
    names = {path.name for path in (whole / "runs" / "first").iterdir()}
    cases = [(at, do) for at in range(1, len(log) + 1) for do in ("SIGTERM", "SIGINT", "kill")]

    def stop(trial: Trial) -> None:
        at, do = tools.pick(cases, trial.number)
        folder = Path(shutil.copytree(trained_start(tools), trial.folder / "shop"))
        writes = {"at": at, "do": do}
        code, stderr, _ = tools.commands().run(folder, command="heads-train", arguments=TRAIN, writes=writes)
        where = f"{do} at step {at}, {log[at - 1]}"
        check_exit(code, stderr, where)
        trial.counts["signals"] += 1
        run_path = folder / "runs" / "first"
        is_there = run_path.exists()
        if is_there:
            require({path.name for path in run_path.iterdir()} == names, WRONG, f"{where}: half a run")
            try:
                Run(run_path)
            except EmbedOnceError as error:
                raise LossError(WRONG, f"{where}: {error}") from error
        require(do == "kill" or not list(folder.glob("runs/.*.tmp")), WRONG, f"{where}: a folder is left aside")
        code, stderr, _ = tools.commands().run(folder, command="heads-train", arguments=TRAIN)
        require(code == int(is_there), UNNAMED, f"{where}, then: {code} {stderr}")

    return stop


CAMPAIGN = Campaign("stopped-trainings", "SIGTERM, Ctrl-C and SIGKILL while a run's folder is written", prepare)
