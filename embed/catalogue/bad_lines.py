"""Lines of a catalogue that are no product: how many there are, and the first few of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from embed.errors import CatalogueError

__all__ = ["BadLines"]

N_EXAMPLES = 5

log = logging.getLogger("embed_once")


@dataclass
class BadLines:
    """Counts what was left out of a table, and keeps the first few with line number (of shards: member) and reason."""

    path: Path
    is_error: bool = False  # the first one ends the reading
    unit: str = "line"
    count: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)

    def add(self, number: int, reason: str) -> None:
        """Count one more.

        Raises:
            CatalogueError: they are not to be left out.
        """
        if self.is_error:
            raise CatalogueError(
                f"Expected each {self.unit} to be a product, but of {self.path} {self.unit} {number} {reason}. Mend "
                "it, or leave such out with --bad-lines skip."
            )
        self.count += 1
        if len(self.examples) < N_EXAMPLES:
            self.examples.append((number, reason))

    def shown(self) -> str:
        """Return the first few in words."""
        words = "; ".join(f"{self.unit} {number} {reason}" for number, reason in self.examples)
        return words + (f"; and {self.count - len(self.examples)} more" if self.count > len(self.examples) else "")

    def tell(self) -> None:
        """Note on stderr what was left out, where there is any."""
        if self.count:
            unit = self.unit if self.count == 1 else f"{self.unit}s"
            log.warning("%d bad %s of %s left out: %s.", self.count, unit, self.path, self.shown())

    def check_most(self, n_good: int, *, hint: str) -> None:
        """Check that at least as many lines are products as are not.

        Raises:
            CatalogueError: they are not; `hint` says what to do about it.
        """
        if self.count > n_good:
            raise CatalogueError(
                f"Expected most {self.unit}s to be products, but {self.count} of {self.count + n_good} of "
                f"{self.path} are none: {self.shown()}. {hint}"
            )
