"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cache.console.echo import echo

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Progress", "duration"]

LINE_EVERY_S = 10.0


class Progress:
    """Counts items of one step, with their rate and, if it is known how many there are, the time left.

    It is used in a ``with`` block. `unit` is the name of one item.
    """

    def __init__(
        self, label: str, n_items: int | None, *, unit: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label = label
        self.n_items = n_items
        self.unit = unit
        self.n_done = 0
        self._clock = clock
        self._started_s = self._last_line_s = clock()
        self._bar: tqdm | None = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=n_items, desc=label, unit=unit, leave=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, n: int) -> None:
        """Count `n` more items."""
        self.n_done += n
        if self._bar is not None:
            self._bar.update(n)
            return
        now_s = self._clock()
        if now_s - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now_s
            rate = self.n_done / (now_s - self._started_s)
            of_all = time_left = ""
            if self.n_items is not None:
                of_all = f" of {self.n_items}"
                time_left = f", {duration((self.n_items - self.n_done) / rate)} left" if rate else ""
            unit = self.unit if (self.n_done if self.n_items is None else self.n_items) == 1 else f"{self.unit}s"
            echo(f"{self.label}: {self.n_done}{of_all} {unit}, {rate:.0f} a second{time_left}", err=True)


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(59), duration(90), duration(3700)
    ('59 s', '2 min', '1 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
