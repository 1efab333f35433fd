"""Hundreds of SIGKILLs at any instant, one after the other on one cache."""

from __future__ import annotations

from collections.abc import Callable

from extracted import EXTRACT, ROWS, acknowledged_keys, write_catalogue

from cache.system.reading import names_in
from torture.campaign import AGAIN, WRONG, Campaign, Tools, Trial, require
from torture.extraction import ORDER, check_exit, check_nothing_lost, starts

N_KILLS = 200


def prepare(tools: Tools) -> Callable[[Trial], None]:
    start = starts(tools)[0]

    def kill(trial: Trial) -> None:
        folder, acknowledged, n_completed = trial.folder / "shop", set(start.keys), 0
        n_kills = 3 if trial.is_small else N_KILLS
        write_catalogue(
            folder, ROWS, {f"images/{n}.png": (start.folder / f"images/{n}.png").read_bytes() for n in range(5)}
        )
        while trial.counts["kills"] < n_kills:
            after_s = trial.random.expovariate(6)
            arguments = EXTRACT if n_completed < 2 else [*EXTRACT, "--retry-failed", "--rehash"]
            code, stderr, log = tools.commands().run(
                folder, **{**ORDER, "arguments": arguments, "kill_after_s": after_s}, writes={}
            )
            where = f"killed {trial.counts['kills']} times, the last after {after_s:.3f} s"
            check_exit(code, stderr, where)
            require(not acknowledged_keys(log) & acknowledged, AGAIN, where)
            acknowledged |= acknowledged_keys(log)
            check_nothing_lost(folder, acknowledged, where)
            trial.counts["kills"] += code == -9
            if code == 0:  # there is no more to do: a product more, whose text is new
                n_completed += 1
                new_rows = [{**ROWS[n % 5], "id": f"more {n}", "text": f"text {n}"} for n in range(2 * n_completed)]
                write_catalogue(folder, [*ROWS, *new_rows])
        trial.counts["catalogues that were done"] += n_completed
        require(len([name for name in names_in(folder) if name.endswith(".tmp")]) == 0, WRONG, "files are left aside")
        write_catalogue(folder, ROWS)
        code, stderr, log = tools.commands().run(folder, **ORDER)
        require(code == 0 and not acknowledged_keys(log) & acknowledged, AGAIN, stderr)

    return kill


CAMPAIGN = Campaign(
    "kills-in-a-row", f"{N_KILLS} SIGKILLs in a row on one cache, each at any instant", prepare, n_unit=1
)
