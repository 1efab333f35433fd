"""Two ablations at once on one result cache, one of them killed: the other, and whoever comes later, find the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from heads.experiment.result_store import ResultCache
from torture.campaign import AGAIN, UNNAMED, WRONG, Campaign, Tools, Trial, require
from torture.trained import ABLATE, MEMO, trained_start


def prepare(tools: Tools) -> Callable[[Trial], None]:
    def ablate(folder: Path, number: int, **order: float) -> tuple[int, str]:
        output_folder = folder / f"{number}"  # each has its own output
        output_folder.mkdir(exist_ok=True)
        arguments = [str(folder / "e.h5"), *ABLATE, "--json", "--memo", str(folder / MEMO)]
        code, stderr, _ = tools.commands(number).run(
            output_folder, command="heads-ablate", arguments=arguments, **order
        )
        return code, stderr

    whole = Path(shutil.copytree(trained_start(tools), tools.folder / "ablation that is whole"))
    code, stderr = ablate(whole, 0)
    assert code == 0, stderr
    expected = scores(whole)

    def kill(trial: Trial) -> None:
        folder = Path(shutil.copytree(trained_start(tools), trial.folder / "shop"))
        after_s = trial.random.expovariate(3)
        with ThreadPoolExecutor(2) as pool:
            killed = pool.submit(ablate, folder, 0 if trial.is_small else 1, kill_after_s=after_s)
            if trial.is_small:
                killed.result()  # of one process of commands, one after the other
            code, stderr = ablate(folder, 0)
            was_killed = killed.result()[0] == -9
        trial.counts["kills"] += was_killed
        where = f"two ablations, one {'killed' if was_killed else 'ended'} within {after_s:.3f} s"
        require(code == 0 and killed.result()[0] in (0, -9), UNNAMED, f"{where}: {stderr} {killed.result()}")
        with ResultCache(folder / MEMO) as results:
            n_before = len(results)
            code, stderr = ablate(folder, 0)
            require(code == 0 and len(results) == n_before, AGAIN, f"{where}: jobs were trained again {stderr}")
        require(scores(folder) == expected, WRONG, f"{where}: other scores than of one alone")
        trial.counts["ablations"] += 3

    return kill


def scores(folder: Path) -> object:
    """Return what the last ablation in a folder found, without what differs between two."""
    ranking = json.loads((folder / "0" / "stdout").read_text())
    return [
        {name: entry[name] for name in sorted(entry) if "score" in name or "f1" in name} for entry in ranking["ranking"]
    ]


CAMPAIGN = Campaign(
    "two-ablations", "two heads-ablate on one result cache at once, one of them killed", prepare, n_unit=1
)
