"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from cache.console.echo import echo

__all__ = ["Progress"]

LINE_EVERY_S = 10.0


class Progress:
    """Counts items of one step, with their rate and, if it is known how many there are, the time left.

    It is used in a ``with`` block.
    """

    def __init__(self, label: str, n_items: int | None, *, unit: str) -> None:
        self.label = label
        self.n_items = n_items
        self.unit = unit
        self.n_done = 0
        self._started = self._last_line = time.monotonic()
        self._bar = tqdm(total=n_items, desc=label, unit=unit, leave=False) if sys.stderr.isatty() else None

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
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            rate = self.n_done / (now - self._started)
            of_all = left = ""
            if self.n_items is not None:
                of_all = f" of {self.n_items}"
                left = f", {(self.n_items - self.n_done) / rate:.0f} s left" if rate else ""
            unit = self.unit if (self.n_done if self.n_items is None else self.n_items) == 1 else f"{self.unit}s"
            echo(f"{self.label}: {self.n_done}{of_all} {unit}, {rate:.0f} a second{left}", err=True)
