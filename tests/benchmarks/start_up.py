"""Time commands that find nothing to do: ``python tests/benchmarks/start_up.py CATALOGUE [options of embed-extract]``.

The catalogue is extracted once, and an ablation is done on it. Then, in turns: the same lines again, the same without
what ``<cache>.specs`` and ``memo.sqlite.finished`` remember, and an interpreter that imports torch and ends. Each line
has the medians of wall and CPU seconds and their ranges; ``--json FILE`` keeps all of them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

BIN = Path(__file__).resolve().parents[2] / "bin"
ABLATION = ("--fusion", "early", "--folds", "2", "--max-epochs", "2")
LIBRARIES = ("numpy", "h5py", "torch", "torchvision", "transformers")


def main() -> None:
    """Extract and compare once, then time all in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--ablate", metavar="LABEL", default="articleType", help="The column that is learned.")
    parser.add_argument("--json", dest="json_path", type=Path, help="Write all figures here.")
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        cache, runs = Path(folder) / "c.h5", Path(folder) / "runs"
        extract = [sys.executable, str(BIN / "embed-extract"), options.catalogue, "-o", str(cache), *others]
        ablate = [sys.executable, str(BIN / "heads-ablate"), str(cache), "--label", options.ablate, *ABLATION]
        ablate += ["--runs", str(runs)]
        for _ in range(2):  # what was written a moment ago is remembered the second time
            seconds_of(extract)
            seconds_of(ablate)
        times: dict[str, list[tuple[float, float]]] = {}
        for _ in range(options.turns):
            turn = {"embed-extract": seconds_of(extract), "heads-ablate": seconds_of(ablate)}
            cache.with_name("c.h5.specs").unlink()
            shutil.rmtree(runs / "memo.sqlite.finished")
            turn["embed-extract, no .specs"] = seconds_of(extract)
            turn["heads-ablate, no .finished"] = seconds_of(ablate)
            turn["import torch"] = seconds_of([sys.executable, "-c", "import torch"])
            for name, seconds in turn.items():
                times.setdefault(name, []).append(seconds)
    for name, seconds in times.items():
        wall, cpu = zip(*seconds, strict=True)
        print(f"{name:28}{show(wall)} s{show(cpu)} s of CPU")
    if options.json_path:
        options.json_path.write_text(json.dumps(record(times, options.catalogue), indent=1) + "\n", encoding="utf-8")


def record(times: dict[str, list[tuple[float, float]]], catalogue: str) -> dict[str, object]:
    """Return all figures with the machine, the versions and the date."""
    shown = [Path(part).name if part.startswith("/") else part for part in sys.argv[1:]]
    return {
        "date": datetime.date.today().isoformat(),
        "command": f"python tests/benchmarks/start_up.py {shlex.join(shown)}",
        "machine": {"cores": len(os.sched_getaffinity(0)), "load": [round(load, 1) for load in os.getloadavg()]},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "products": sum(1 for _ in open(catalogue, encoding="utf-8")) - 1,
        "figures": {
            name: {"wall_s": [wall for wall, _ in pairs], "cpu_s": [cpu for _, cpu in pairs]}
            for name, pairs in times.items()
        },
    }


def seconds_of(line: list[str]) -> tuple[float, float]:
    """Return the wall and CPU seconds that a command takes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(time.monotonic() - started, 3), round(cpu_s, 3)


def show(seconds: tuple[float, ...]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(seconds):8.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


if __name__ == "__main__":
    main()
