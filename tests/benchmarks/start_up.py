"""Time commands that find nothing to do: ``python tests/benchmarks/start_up.py CATALOGUE [options of embed-extract]``.

The catalogue is extracted once. Then, in turns: the same line again, the same without what ``<cache>.specs`` remembers,
and an interpreter that imports torch and ends. Each line has the medians of wall and CPU seconds and their ranges.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXTRACT = [sys.executable, str(Path(__file__).resolve().parents[2] / "bin" / "embed-extract")]


def main() -> None:
    """Extract once, then time the three in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue")
    parser.add_argument("--turns", type=int, default=5)
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "c.h5"
        extract = [*EXTRACT, options.catalogue, "-o", str(cache), *others]
        for _ in range(2):  # what was written a moment ago is remembered the second time
            seconds_of(extract)
        times: dict[str, list[tuple[float, float]]] = {"unchanged": [], "without .specs": [], "import torch": []}
        for _ in range(options.turns):
            times["unchanged"].append(seconds_of(extract))
            cache.with_name("c.h5.specs").unlink()
            times["without .specs"].append(seconds_of(extract))
            times["import torch"].append(seconds_of([sys.executable, "-c", "import torch"]))
    for name, both in times.items():
        wall, cpu = zip(*both, strict=True)
        print(f"{name:16}{show(wall)} s{show(cpu)} s of CPU")


def seconds_of(line: list[str]) -> tuple[float, float]:
    """Return the wall and CPU seconds that a command takes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu_s


def show(seconds: tuple[float, ...]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(seconds):8.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


if __name__ == "__main__":
    main()
