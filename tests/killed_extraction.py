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

Step = Callable[..., None]  # its name, and what happens at it if it is the last


def main() -> None:
    """Serve orders until stdin ends."""
    serve(run)


def run(note: Callable[..., None], _: Path, *, arguments: list[str], die_at: int | None = None) -> None:
    """Extract, until the step `die_at`."""
    _watch(note, die_at)
    embed.commands.extract.extract.main(arguments, prog_name="embed-extract")


def _watch(note: Callable[..., None], die_at: int | None) -> None:
    """Make each step note itself in the log, and the `die_at`-th the last."""
    step = _step_counter(note, die_at)
    for owner, names in (
        (os, ("fsync", "replace", "ftruncate", "pwrite")),
        (fcntl, ("flock",)),
        (Path, ("mkdir", "unlink", "rmdir")),
        (embed.extraction.source.content_source, ("read_image",)),
        (csv, ("writer",)),
        (CountingEncoder, ("encode",)),
    ):
        for name in names:
            _step_before(owner, name, step)
    _step_amid_writes(step)
    _note_work(note)
    encoders = [CountingEncoder("image"), CountingEncoder("text")]  # a network would take nine tenths of the time
    embed.extraction.encoding.run_encoders.make_encoders = lambda _: encoders
    # Each batch is a part.
    embed.commands.extract.ExtractSettings = functools.partial(embed.commands.extract.ExtractSettings, part_bytes=1)
    cache.journal.journal.MERGED_PARTS = 2


def _step_counter(note: Callable[..., None], die_at: int | None) -> Step:
    """Return what notes and counts a step, and ends the process at the `die_at`-th, once `at_death` is called."""
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

    return step


def _step_before(owner: Any, name: str, step: Step) -> None:
    """Make each call of a function or method a step."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def stepping(*args: Any, **options: Any) -> Any:
        step(name)
        return function(*args, **options)

    setattr(owner, name, stepping)


def _step_amid_writes(step: Step) -> None:
    """Make writing a file, which dies after its first half, and each fourth dataset of a seal a step."""
    write_bytes, create_dataset = Path.write_bytes, h5py.Group.create_dataset
    datasets = iter(range(10**6))

    def torn_write_bytes(self: Path, content: bytes) -> int:
        step("write_bytes", at_death=lambda: write_bytes(self, content[: len(content) // 2]))
        return write_bytes(self, content)

    def stepping_create_dataset(self: h5py.Group, *args: Any, **options: Any) -> h5py.Dataset:
        if "BytesIO" not in str(self.file.filename) and next(datasets) % 4 == 0:  # of a seal; parts are made in memory
            step("create_dataset")
        return create_dataset(self, *args, **options)

    Path.write_bytes, h5py.Group.create_dataset = torn_write_bytes, stepping_create_dataset


def _note_work(note: Callable[..., None]) -> None:
    """Note the keys of each part that is published, and the size of each batch that is encoded."""
    publish, encode = Journal.publish, CountingEncoder.encode

    def noted_publish(self: Journal, part: Any) -> Path:
        path = publish(self, part)
        note(acknowledged=part.keys)
        return path

    def noted_encode(self: CountingEncoder, batch: Any) -> Any:
        vectors = encode(self, batch)
        note(encoded=len(batch))
        return vectors

    Journal.publish, CountingEncoder.encode = noted_publish, noted_encode  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
