"""How far a long step of an audit is, in a line now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cache.console.notes import PROGRESS

__all__ = ["Progress"]

log = logging.getLogger("embed_once")
LINE_EVERY_S = 5.0


class Progress:
    """Counts what is done of a step, and tells it with the time left, as commands show progress on stderr."""

    def __init__(self, what: str, n_wanted: int, unit: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._n_wanted, self._unit, self._clock = what, n_wanted, unit, clock
        self._n_done = 0
        self._started_s = self._told_s = clock()

    def advance(self, n: int) -> None:
        """Count `n` more."""
        self._n_done += n
        now_s = self._clock()
        if now_s - self._told_s < LINE_EVERY_S:
            return
        self._told_s = now_s
        left_s = (now_s - self._started_s) / self._n_done * (self._n_wanted - self._n_done)
        left = f"{left_s:.0f} s" if left_s < 60 else f"{left_s / 60:.0f} min"
        done = f"{self._n_done:,} of {self._n_wanted:,} {self._unit}"
        log.log(PROGRESS, "%s: %s, about %s left", self._what, done, left)
