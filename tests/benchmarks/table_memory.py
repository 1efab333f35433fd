"""Measure the peak memory of looking at a table of ten million rows: ``python tests/benchmarks/table_memory.py``.

It writes a CSV of four short columns to a temporary folder, iterates over its batches in a process of its own, and
prints that process's VmHWM, and the same of a table of a thousand rows, which is what Python and pandas take.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOOK = """
import sys, time
sys.path.insert(0, sys.argv[2])
from embed.catalogue.open_table import open_table
started = time.monotonic()
n_rows = sum(len(batch["id"]) for batch in open_table(sys.argv[1]).batches())
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(f"{n_rows:>12,} rows  {int(peak) / 1024:8.1f} MB at most  {time.monotonic() - started:6.1f} s")
"""


def write_table(path: Path, n_rows: int) -> None:
    """Write a CSV of ids, file names, titles and labels."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,image,title,label\n")
        for start in range(0, n_rows, 100_000):
            rows = range(start, min(start + 100_000, n_rows))
            file.writelines(f'{n:08},images/{n}.jpg,"Shirt, number {n % 99991}",class {n % 50}\n' for n in rows)


def main() -> None:
    """Write, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in (1000, parser.parse_args().rows):
            path = Path(folder) / f"{n_rows}.csv"
            started = time.monotonic()
            write_table(path, n_rows)
            print(f"wrote {path.stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s", flush=True)
            subprocess.run([sys.executable, "-c", LOOK, path, ROOT], check=True)


if __name__ == "__main__":
    main()
