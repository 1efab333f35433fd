"""Tables of figures as they stand on a page, each with a line on how it came to be."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import Any

__all__ = ["about", "reach", "spread", "table"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], about: str) -> list[str]:
    """Return the lines of a table, and one on how it came to be."""
    cells = [header, ["---"] * len(header), *rows]
    return [*(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in cells), "", about]


def about(results: dict[str, Any], *more: str) -> str:
    """Return when, on what and by which script figures came to be; the whole command stands in the JSON."""
    machine, versions = results.get("machine", {}), {**results.get("machine", {}), **results.get("versions", {})}
    when = f"Measured {results['date']}" if "date" in results else f"Written down {results['written_down']}"
    parts = [f"{machine['cores']} cores" + (f" of an {machine['processor']}" if "processor" in machine else "")]
    parts += [f"PyTorch {versions['torch']}"] if "torch" in versions else []
    script = re.search(r"tests/benchmarks/\w+\.py", results["command"])
    return f"{when}, {', '.join([*parts, *more])}: " + (f"`{script[0]}`." if script else f"{results['command']}.")


def spread(seconds: Sequence[float]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


def reach(values: Sequence[float], digits: int = 1) -> str:
    """Return the least and the greatest."""
    return f"{min(values):.{digits}f}–{max(values):.{digits}f}"
