"""Measure what grows with the catalogue: ``python tests/benchmarks/scale.py --products 10000 100000 1000000``.

A catalogue of unique titles is extracted by an encoder that draws a vector of each title's hash and computes nothing
else, so that what is left is this project's part. Titles are encoded by their lengths, and sealed in another order.
Each line is a process of its own: its seconds, how many times those of a catalogue a tenth as large, its peak memory
(libraries alone take what the smallest has), how many bytes it read for each byte of vectors, and how many files there
are beside the catalogue at the end.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import embed.extraction.extract_catalogue as loop
from cache import Cache, EncoderSpec
from embed import ExtractSettings
from heads.data.vectors import load_vectors

DIM = 64
STEPS = ("encode", "plan", "seal", "unchanged", "resume", "open", "sample")


def main() -> None:
    """Run each step at each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--part-bytes", type=int, default=32 * 2**20)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(Step(options.step, options.part_bytes).facts))
        return
    print(f"{'step':12}{'products':>10}{'seconds':>10}{'x':>7}{'peak MB':>9}{'read/B':>8}{'files':>7}")
    seconds: dict[str, dict[int, float]] = {step: {} for step in STEPS}
    for n_products in options.products:
        with tempfile.TemporaryDirectory() as folder:
            write_catalogue(Path(folder) / "data.csv", n_products)
            for step in STEPS:
                line = [sys.executable, __file__, "--step", step, "--part-bytes", str(options.part_bytes)]
                done = subprocess.run(line, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
                facts = json.loads(done.stdout.splitlines()[-1])
                seconds[step][n_products] = facts["seconds"]
                ratio = facts["seconds"] / seconds[step].get(n_products // 10, float("nan"))
                n_files = sum(path.is_file() for path in Path(folder).rglob("*")) - 1
                print(
                    f"{step:12}{n_products:>10,}{facts['seconds']:>10.2f}{ratio:>7.1f}{facts['peak_mb']:>9.0f}"
                    f"{facts['n_bytes_read'] / (4 * DIM * n_products):>8.1f}{n_files:>7}",
                    flush=True,
                )


def write_catalogue(path: Path, n_products: int) -> None:
    """Write a table of ids, unique titles of 1 to 100 words, and labels."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text,label\n")
        file.writelines(f"{n:08},{'a ' * (n * 7919 % 100)}shirt {n},class {n % 50}\n" for n in range(n_products))


class NullEncoder:
    """Draws a vector of a title's checksum; stops at the content numbered `stop_at`, as a run that is killed."""

    name, batch_size = "null", 4096

    def __init__(self, stop_at: float = float("inf")) -> None:
        self.spec = EncoderSpec("text", {"weights": "null"})
        self.stop_at = stop_at
        self.n_encoded = 0

    def prepare(self, content: str) -> int:
        """Return the checksum."""
        return zlib.crc32(content.encode())

    def encode(self, batch: list[int]) -> np.ndarray:
        """Return (B, D)."""
        self.n_encoded += len(batch)
        if self.n_encoded > self.stop_at:
            raise KeyboardInterrupt
        return (np.array(batch)[:, None] % np.arange(2, DIM + 2)).astype(np.float32)


class Step:
    """One step in this process and this folder, and what it took."""

    def __init__(self, name: str, part_bytes: int) -> None:
        self.settings = ExtractSettings(modalities=("text",), part_bytes=part_bytes, n_workers=2)
        with self.timed() if name in ("unchanged", "open") else nullcontext():
            getattr(self, name)()
        status = Path("/proc/self/status").read_text()
        self.facts["peak_mb"] = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note the seconds that the block takes, and the bytes that it reads, from the disk or not."""
        started, n_read = time.monotonic(), bytes_read()
        yield
        self.facts = {"seconds": time.monotonic() - started, "n_bytes_read": bytes_read() - n_read}

    def encode(self) -> None:
        """Encode all and stop before the seal."""
        with self.timed(), loop._work("data.csv", "e.h5", self.settings, [NullEncoder()]) as work:
            work.runs[0].encode_missing(work.inventory)

    def plan(self) -> None:
        """Find that nothing is missing, from what waits in the journal."""
        with self.timed(), loop._work("data.csv", "e.h5", self.settings, [NullEncoder()]) as work:
            assert not work.runs[0].missing(work.inventory)

    def seal(self) -> None:
        """Seal what waits."""
        seal = loop.seal

        def timed(*arguments: object, **options: object) -> bool:
            with self.timed():
                return seal(*arguments, **options)

        loop.seal = timed
        self.unchanged()

    def unchanged(self) -> None:
        """Extract what is there already."""
        loop.extract("data.csv", "e.h5", settings=self.settings, encoders=[NullEncoder()])

    def resume(self) -> None:
        """Go on with a run that ended at half of the products, and seal."""
        n_products = Path("data.csv").read_bytes().count(b"\n") - 1
        with suppress(KeyboardInterrupt):
            loop.extract("data.csv", "half.h5", settings=self.settings, encoders=[NullEncoder(n_products / 2)])
        with self.timed():
            loop.extract("data.csv", "half.h5", settings=self.settings, encoders=[NullEncoder()])
        Path("half.h5").unlink()

    def open(self) -> None:
        """Open the sealed cache, which checks its structure, and read its keys."""
        with Cache("e.h5") as cache:
            cache.keys("text")

    def sample(self) -> None:
        """Read a shuffled hundredth of the rows, 256 at a time."""
        with Cache("e.h5") as cache:
            vectors = load_vectors(cache, encoders={"text": "null"}, on_disk=True).inputs["text"]
            rows = torch.from_numpy(np.random.default_rng(0).permutation(len(cache))[: max(1, len(cache) // 100)])
            with self.timed():
                for some in rows.split(256):
                    vectors[some]


def bytes_read() -> int:
    """Return how many bytes this process has read so far, from the disk or not."""
    return int(Path("/proc/self/io").read_text().split()[1])


if __name__ == "__main__":
    main()
