"""Extractions that kill themselves, on order: a script for `forked.Forked`.

The child sends itself SIGKILL before its `die_at`-th step, where a step is all that touches a file, a picture or an
encoder; of a part's bytes it writes one half first. The log has each step, each batch that was encoded, and the keys of
each part that was acknowledged.
"""

from __future__ import annotations

import csv
import fcntl
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import h5py
from forked import serve
from support import CountingEncoder

import cache.journal.journal
import embed.commands.extract
import embed.extraction.extract_catalogue
import embed.extraction.source.content_source
from cache import Journal


def main() -> None:
    """Serve orders until stdin ends."""
    serve(run)


def run(note: Callable[..., None], _: Path, *, arguments: list[str], die_at: int | None = None) -> None:
    """Extract, until the step `die_at`."""
    _watch(note, die_at)
    embed.commands.extract.extract.main(arguments, prog_name="embed-extract")


def _watch(note: Callable[..., None], die_at: int | None) -> None:
    """Make each step note itself in the log, and the `die_at`-th the last."""
    lock = threading.Lock()
    n_steps = 0

    def step(name: str, at_death: Callable[[], object] = lambda: None) -> None:
        nonlocal n_steps
        with lock:
            n_steps += 1
            note(step=name)
            if n_steps == die_at:
                at_death()
                os.kill(os.getpid(), signal.SIGKILL)

    def before(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def stepping(*args: Any, **options: Any) -> Any:
            step(name)
            return function(*args, **options)

        setattr(owner, name, stepping)

    for owner, names in (
        (os, ("fsync", "replace", "ftruncate", "pwrite")),
        (fcntl, ("flock",)),
        (Path, ("mkdir", "unlink", "rmdir")),
        (embed.extraction.source.content_source, ("read_image",)),
        (csv, ("writer",)),
    ):
        for name in names:
            before(owner, name)

    write_bytes, create_dataset, publish = Path.write_bytes, h5py.Group.create_dataset, Journal.publish
    datasets = iter(range(10**6))

    def torn_write_bytes(self: Path, content: bytes) -> int:
        step("write_bytes", at_death=lambda: write_bytes(self, content[: len(content) // 2]))
        return write_bytes(self, content)

    def stepping_create_dataset(self: h5py.Group, *args: Any, **options: Any) -> h5py.Dataset:
        if "BytesIO" not in str(self.file.filename) and next(datasets) % 4 == 0:  # of a seal; parts are made in memory
            step("create_dataset")
        return create_dataset(self, *args, **options)

    def noted_publish(self: Journal, part: Any) -> Path:
        path = publish(self, part)
        note(kept=part.keys)
        return path

    Path.write_bytes, h5py.Group.create_dataset, Journal.publish = (
        torn_write_bytes,
        stepping_create_dataset,
        noted_publish,
    )
    before(CountingEncoder, "encode")
    encode = CountingEncoder.encode

    def noted_encode(self: CountingEncoder, batch: Any) -> Any:
        vectors = encode(self, batch)
        note(encoded=len(batch))
        return vectors

    CountingEncoder.encode = noted_encode  # type: ignore[method-assign]
    encoders = [CountingEncoder("image"), CountingEncoder("text")]  # a network would take nine tenths of the time
    embed.extraction.encoding.run_encoders.make_encoders = lambda _: encoders
    embed.commands.extract.ExtractSettings = functools.partial(
        embed.commands.extract.ExtractSettings, part_bytes=1
    )  # each batch is a part
    cache.journal.journal.MERGED_PARTS = 2


if __name__ == "__main__":
    main()
