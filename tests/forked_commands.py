"""Commands one of whose reads or writes fails, or that are killed at one: a script for `forked.Forked`.

An order names the `command`, one of `COMMANDS`, and its `arguments`; `is_stopped` stops an extraction before it seals,
`encoder` is the name of that of pictures, `merged_parts` of the journal make one, and `without_locks` is the errno of a
file system that has none. ``reads`` or ``writes`` has what happens at one of them: the arguments of
`failing_reads.Reads` and `failing_writes.Writes`. Extractions have encoders that count, one of them with tokens, and
each batch is a part.

The log has each step, each batch that was encoded, and the keys of each part that was acknowledged.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from failing_reads import Reads
from failing_writes import WatchedFile, Writes
from forked import serve
from support import CountingEncoder

import cache.console.progress
import cache.journal.journal
import cache.system.aside
import embed.commands.extract
import embed.extraction.extract_catalogue
import heads.commands.ablate
import heads.commands.predict
import heads.commands.train
from cache import Journal, Tokens
from cache.commands.info import info
from cache.commands.verify import verify
from embed.encoders.protocol import Encoded

cache.system.aside.PatientFile.__bases__ = (WatchedFile,)  # it is derived from another file already
COMMANDS = {
    "embed-extract": embed.commands.extract.extract,
    "cache-info": info,
    "cache-verify": verify,
    "heads-ablate": heads.commands.ablate.ablate,
    "heads-train": heads.commands.train.train,
    "heads-predict": heads.commands.predict.predict,
}


class WordEncoder(CountingEncoder):
    """It gives a token for each word, too."""

    def encode(self, batch: Any) -> Encoded:
        words = [np.full((len(item.split()), 2), len(item), np.float16) for item in batch]
        return Encoded(super().encode(batch), Tokens.of(words))


def run(
    note: Callable[..., None],
    folder: Path,
    *,
    command: str,
    arguments: list[str],
    is_stopped: bool = False,
    encoder: str = "counting",
    merged_parts: int = cache.journal.journal.MERGED_PARTS,
    reads: dict[str, Any] | None = None,
    writes: dict[str, Any] | None = None,
    without_locks: int | None = None,
) -> None:
    """Run one command."""
    note_work(note, encoder)
    cache.console.progress.LINE_EVERY_S = float("inf")  # a machine may be slow enough to say how far it is
    cache.journal.journal.MERGED_PARTS = merged_parts
    if is_stopped:
        embed.extraction.extract_catalogue.seal = _stop
    if without_locks is not None:
        fcntl.flock = lambda *_: _refuse(without_locks)
    if reads is not None:
        Reads(folder, note, **reads).watch()
    if writes is not None:
        Writes(folder, note, **writes).watch()
    COMMANDS[command].main(arguments, prog_name=command)


def _refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))


def _stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def note_work(note: Callable[..., None], name: str) -> None:
    """Have small encoders encode, and note what they did and what was acknowledged."""
    publish, encode = Journal.publish, CountingEncoder.encode

    def noted_publish(self: Journal, part: Any) -> Path:
        path = publish(self, part)
        note(acknowledged=part.keys)
        return path

    def noted_encode(self: CountingEncoder, batch: Any) -> np.ndarray:
        note(encoded=len(batch))
        return encode(self, batch)

    Journal.publish, CountingEncoder.encode = noted_publish, noted_encode  # type: ignore[method-assign]
    embed.extraction.encoding.run_encoders.make_encoders = lambda _: [
        CountingEncoder("image", name=name),
        WordEncoder("text"),
    ]
    embed.commands.extract.ExtractSettings = functools.partial(
        embed.commands.extract.ExtractSettings, part_bytes=1
    )  # each batch is a part


if __name__ == "__main__":
    serve(run)
