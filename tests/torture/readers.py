"""Readers beside extractions that seal, again and again: each sees one sealed cache or another, and never a mixture."""

from __future__ import annotations

import threading
from collections.abc import Callable

from extracted import EXTRACT, IMAGES, ROWS, cache_content, write_catalogue

from torture.campaign import UNNAMED, WRONG, Campaign, Tools, Trial, require

SHOPS = (ROWS[:4], [{**ROWS[4 - n], "text": f"{ROWS[n]['text']} once more"} for n in range(5)])


def prepare(tools: Tools) -> Callable[[Trial], None]:
    def read(trial: Trial) -> None:
        folder, possible = trial.folder / "shop", []
        for shop in [*SHOPS, *SHOPS]:  # from the third on no vector is new, and only two caches are possible
            write_catalogue(folder, shop, IMAGES)
            assert tools.commands().run(folder, command="embed-extract", arguments=EXTRACT)[0] == 0
            possible = [*possible[-1:], cache_content(folder)]
        require(possible[0] != possible[1], WRONG, "two catalogues make one cache")
        all_sealed = threading.Event()
        codes: list[int] = []

        def seal() -> None:
            for n in range(2 if trial.is_small else 30):
                write_catalogue(folder, SHOPS[n % 2])
                codes.append(tools.commands().run(folder, command="embed-extract", arguments=EXTRACT)[0])
            all_sealed.set()

        thread = threading.Thread(target=seal)
        thread.start()
        try:
            while not all_sealed.is_set():
                require(cache_content(folder) in possible, WRONG, "a mixture of two caches was read")
                trial.counts["caches read"] += 1
        finally:
            thread.join()
        require(set(codes) == {0}, UNNAMED, codes)
        trial.counts["seals"] += len(codes)

    return read


CAMPAIGN = Campaign("readers", "readers beside extractions that seal one cache again and again", prepare, n_unit=1)
