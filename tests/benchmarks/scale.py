"""Measure what grows with the catalogue: ``python tests/benchmarks/scale.py --products 10000 100000 1000000``.

A catalogue of unique titles is extracted by an encoder that draws a vector of each checksum and computes nothing
else, so that what is left is this project's part. Titles are encoded by their lengths, and sealed in another order.
Then `pictures` extracts as many pictures from a Parquet file, and `again` extracts them anew without news. A second
cache has titles and pictures, a tenth of these under two products each; of it are `groups`, `join`, `lookup`, `sample`
and the heads, one by one, two epochs each, their vectors on the disk.

Each line is a process of its own: its seconds of wall and of CPU, how many times the CPU's are those of a catalogue a
tenth as large, its peak memory (libraries alone take what the smallest has), how many bytes it read for each byte of
vectors, and how many files there are beside the catalogue at the end. ``--step`` runs some steps, in this order;
``--folder`` keeps what they made, so that another call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scale_inputs import DIM, PART_ROWS, NullEncoder, draw, write_catalogue, write_pictures

import embed.extraction.extract_catalogue as loop
from cache import Cache, Contents, EncoderSpec, Journal, Part, Products, VectorsByKey, content_key, seal
from embed import ExtractSettings
from heads.data.labels import Labels, make_labels
from heads.data.splitting.groups import find_groups, share_content
from heads.data.splitting.splits import split_rows
from heads.data.vectors import load_vectors
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.experiment import Experiment
from heads.experiment.late_fusion import Weighting
from heads.experiment.problem import Problem
from heads.head_types import HEAD_TYPES
from heads.settings import FitSettings

MODALITIES = ("image", "text")
HEADS = ("image", *(name for name, kind in HEAD_TYPES.items() if not kind.at_once or not kind.needs_vectors))
STEPS = (
    "encode", "plan", "seal", "unchanged", "resume", "open", "pictures", "again",
    "second", "groups", "join", "lookup", "sample", *(f"train:{name}" for name in HEADS),
)  # fmt: skip


def main() -> None:
    """Run each step at each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--part-bytes", type=int, default=32 * 2**20)
    parser.add_argument("--memory", help="the setting of an extraction, such as 64M; more lies on the disk")
    parser.add_argument("--step", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--folder", type=Path, help="a folder of each size is kept here")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(Step(options.run, options.part_bytes, options.memory).facts))
        return
    header = f"{'step':16}{'products':>11}{'s':>9}{'CPU s':>9}{'x':>6}{'peak MB':>9}{'read/B':>8}{'files':>7}"
    print(header)
    cpu: dict[tuple[str, int], float] = {}
    for n_products in options.products:
        with folder_of(options.folder, n_products) as folder:
            if not (folder / "data.csv").exists():
                write_catalogue(folder / "data.csv", n_products)
            for step in options.step:
                facts = run(step, folder, options.part_bytes, options.memory)
                cpu[step, n_products] = facts["cpu_s"]
                ratio = facts["cpu_s"] / cpu.get((step, n_products // 10), float("nan"))
                n_files = sum(path.is_file() for path in folder.rglob("*")) - 1
                n_bytes = 4 * DIM * n_products * (2 if STEPS.index(step) > STEPS.index("lookup") else 1)
                print(
                    f"{step:16}{n_products:>11,}{facts['seconds']:>9.2f}{facts['cpu_s']:>9.2f}{ratio:>6.1f}"
                    f"{facts['peak_mb']:>9.0f}{facts['n_bytes_read'] / n_bytes:>8.1f}{n_files:>7}",
                    flush=True,
                )


@contextmanager
def folder_of(parent: Path | None, n_products: int) -> Iterator[Path]:
    """Yield where one size's files are: a folder that stays, or one that goes."""
    if parent is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        (folder_that_stays := parent / str(n_products)).mkdir(parents=True, exist_ok=True)
        yield folder_that_stays


def run(step: str, folder: Path, part_bytes: int, memory: str | None) -> dict[str, float]:
    """Run one step in a process of its own, and return what it took."""
    command = [sys.executable, __file__, "--run", step, "--part-bytes", str(part_bytes)]
    command += ["--memory", memory] if memory else []
    completed = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(completed.stdout.splitlines()[-1])


class Step:
    """One step in this process and this folder, and what it took."""

    def __init__(self, name: str, part_bytes: int, memory: str | None) -> None:
        self.settings = ExtractSettings(modalities=("text",), part_bytes=part_bytes, n_workers=2, memory=memory)
        method, _, argument = name.partition(":")
        with self.timed() if method in ("unchanged", "open", "again", "second") else nullcontext():
            getattr(self, method)(*filter(None, [argument]))
        status = Path("/proc/self/status").read_text()
        self.facts["peak_mb"] = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note the seconds that the block takes, and the bytes that it reads, from the disk or not."""
        started, cpu_s, n_read = time.monotonic(), cpu_seconds(), bytes_read()
        yield
        self.facts = {
            "seconds": time.monotonic() - started,
            "cpu_s": cpu_seconds() - cpu_s,
            "n_bytes_read": bytes_read() - n_read,
        }

    def encode(self) -> None:
        """Encode all and stop before the seal."""
        with self.timed(), loop._work("data.csv", "e.h5", self.settings, [NullEncoder()]) as work:
            work.runs[0].encode_missing(work.inventory)

    def plan(self) -> None:
        """Find that nothing is missing, from what waits in the journal."""
        with self.timed(), loop._work("data.csv", "e.h5", self.settings, [NullEncoder()]) as work:
            assert not work.runs[0].missing_keys(work.inventory)

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

    def pictures(self) -> None:
        """Extract pictures of a Parquet file, and seal."""
        write_pictures("pictures.parquet", Path("data.csv").read_bytes().count(b"\n") - 1)
        with self.timed():
            self.again()

    def again(self) -> None:
        """Extract the pictures that are there already."""
        settings = replace(self.settings, modalities=("image",))
        loop.extract("pictures.parquet", "pictures.h5", settings=settings, encoders=[NullEncoder(modality="image")])

    def open(self) -> None:
        """Open the sealed cache, which checks its structure, and read its keys."""
        with Cache("e.h5") as cache:
            cache.keys("text")

    def second(self) -> None:
        """Write the cache of titles and pictures, in which a tenth of the pictures have two products."""
        with Cache("e.h5") as cache:
            ids, labels = cache.ids(), cache.column("label")
        contents = {}
        with Journal("two.h5") as journal:
            for modality in MODALITIES:
                numbers = np.arange(len(ids)) % (len(ids) * 9 // 10 if modality == "image" else len(ids))
                keys = [content_key(f"{modality} {n}".encode()) for n in numbers.tolist()]
                for start in range(0, int(numbers.max()) + 1, PART_ROWS):
                    part_keys = keys[start : min(start + PART_ROWS, int(numbers.max()) + 1)]
                    seeds = np.array([zlib.crc32(key.encode()) for key in part_keys])
                    spec = EncoderSpec(modality, {"weights": "null"})
                    journal.publish(Part("null", spec, part_keys, draw(seeds), {}))
                contents[modality] = Contents(keys, ["ok"] * len(keys))
            seal("two.h5", journal, Products(ids, {"label": labels}, contents))

    def groups(self) -> None:
        """Find which rows are copies: by their keys, and by their vectors."""
        with self.timed(), Cache("two.h5") as cache:
            find_groups(cache, labels_of(cache), encoders={name: ["null"] for name in MODALITIES})

    def join(self) -> None:
        """Join the rows that have a key in common."""
        with self.timed(), Cache("two.h5") as cache:
            groups = share_content([cache.rows(modality) for modality in MODALITIES])
        assert len(np.unique(groups)) == len(groups) * 9 // 10

    def lookup(self) -> None:
        """Look the vectors of a shuffled hundredth of the keys up, 256 at a time."""
        with Cache("two.h5") as cache:
            keys = np.random.default_rng(0).permutation(cache.keys("text"))
        keys = keys[: max(1, len(keys) // 100)].astype(str).tolist()
        with self.timed():
            vectors = VectorsByKey("two.h5", "null", EncoderSpec("text", {"weights": "null"}))
            for start in range(0, len(keys), 256):
                assert vectors.find(keys[start : start + 256])[1].all()

    def sample(self) -> None:
        """Read a shuffled hundredth of the rows, 256 at a time."""
        with Cache("two.h5") as cache:
            vectors = load_vectors(cache, encoders=dict.fromkeys(MODALITIES, "null"), on_disk=True)
            rows = torch.from_numpy(np.random.default_rng(0).permutation(len(cache))[: max(1, len(cache) // 100)])
            with self.timed():
                for batch in rows.split(256):
                    vectors.take(batch)

    def train(self, head: str) -> None:
        """Train a head, and have it answer the validation rows, from the disk, with 256 MB for vectors."""
        with Cache("two.h5") as cache:
            names = [head] if head in MODALITIES else MODALITIES
            vectors = load_vectors(cache, encoders=dict.fromkeys(names, "null"), on_disk=True)
            labels = labels_of(cache)
        groups = np.arange(len(labels.targets))
        generator = np.random.default_rng(0)
        split = split_rows(labels.targets, groups, test_share=0.1, validation_share=0.1, generator=generator)
        problem = Problem(
            ids=[], vectors={(name, "null"): [vectors.part([name])] for name in names}, labels=labels, groups=groups,
            is_placeholder=np.zeros(len(groups), dtype=bool), folds=[split], fusions=(head,), notes=[],
            content_sha256="",
        )  # fmt: skip
        weighting = Weighting.parse(None, list(names))
        device = torch.device("cpu")
        experiment = Experiment(
            problem, sides=("validation",), weighting=weighting, device=device, precision="fp32", memory=2**28
        )
        settings = FitSettings(hidden_dim=64, max_epochs=2)
        job = FoldJob(Configuration.of(head, dict.fromkeys(names, "null"), settings), 0, 0)
        results: list[object] = []
        with self.timed():
            experiment.run([job], lambda _, result: results.append(result))
        for result in results:
            if isinstance(result, Exception):
                raise result


def labels_of(cache: Cache) -> Labels:
    """Return the classes."""
    return make_labels("label", cache.column("label"), usable=np.ones(len(cache), dtype=bool), min_rows=10)


def cpu_seconds() -> float:
    """Return the seconds that all threads of this process have computed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bytes_read() -> int:
    """Return how many bytes this process has read so far, from the disk or not."""
    return int(Path("/proc/self/io").read_text().split()[1])


if __name__ == "__main__":
    main()
