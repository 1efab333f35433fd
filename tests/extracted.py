"""Extractions by encoders that count: a small shop, what of it is on the disk, and whether a run said what happened."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from forked import Forked
from support import image_bytes, write_catalogue

from cache import Cache
from cache.errors import DamagedCacheError
from cache.journal.part_file import load_part

EXTRACT = ["data.csv", "-o", "e.h5", "--batch-size", "2", "--workers", "1"]
ROWS = [
    {"id": f"{n:03}", "image": f"images/{n}.png", "text": f"product number {n}", "label": f"class {n % 2}"}
    for n in range(5)
]
IMAGES = {row["image"]: image_bytes((n, 7, 9)) for n, row in enumerate(ROWS)}
N_CONTENTS = 2 * len(ROWS)
STARTS = ("from nothing", "onto a sealed cache", "onto a sealed cache and a journal")


def prepare_start(kind: str, commands: Forked, folder: Path) -> Path:
    """Make a folder to extract in, with some of the work done; all its catalogue's products are to be extracted."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind != STARTS[0]:
        write_catalogue(folder, ROWS[:1], IMAGES)
        assert commands.run(folder, command="embed-extract", arguments=EXTRACT)[0] == 0
    if kind == STARTS[2]:
        write_catalogue(folder, ROWS[:4])
        assert commands.run(folder, command="embed-extract", arguments=EXTRACT, is_stopped=True)[0] == 130
        assert len(parts_of(folder)) == 4
    write_catalogue(folder, ROWS, IMAGES)
    return folder


def run_undisturbed(
    start: Path, commands: Forked, name: str = "whole", **order: Any
) -> tuple[Path, list[dict[str, Any]]]:
    """Return the folder and the log of a run in a copy of a start that nothing disturbs."""
    whole = Path(shutil.copytree(start, start.with_name(f"{start.name}-{name}")))
    code, stderr, log = commands.run(whole, command="embed-extract", arguments=EXTRACT, **order)
    assert (code, stderr) == (0, ""), stderr
    return whole, log


def acknowledged_keys(log: list[dict[str, Any]]) -> set[str]:
    return {key for line in log for key in line.get("acknowledged", [])}


def n_encoded(log: list[dict[str, Any]]) -> int:
    return sum(line.get("encoded", 0) for line in log)


def parts_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "e.h5.journal").glob("*.part.h5")}


def keys_on_disk(folder: Path) -> set[str]:
    """Return all keys that have a vector in the cache or its journal."""
    keys = set()
    for path in (folder / "e.h5.journal").glob("*.part.h5"):
        with suppress(DamagedCacheError):
            keys |= set(load_part(path).keys)
    if (folder / "e.h5").exists():
        with Cache(folder / "e.h5") as cache:
            for modality in cache.content_modalities:
                for encoder in cache.encoders(modality):
                    keys |= set(cache.keys(modality)[cache.encoded(modality, encoder)].astype(str).tolist())
    return keys


def cache_content(folder: Path) -> tuple[list, ...]:
    """Return all that a reader may ask of the cache in a folder."""
    with Cache(folder / "e.h5") as cache:
        tokens = cache.tokens("text")
        return (
            [cache.ids(), [cache.column(name) for name in cache.columns()]],
            [cache.statuses(modality) for modality in cache.modalities],
            [cache.matrix(modality).tolist() for modality in cache.modalities],
            [tokens.values.tolist(), tokens.offsets.tolist()],
        )


UNWANTED = re.compile(r"damage|delete|remove|restore|set aside|traceback|mistake in embed-once", re.IGNORECASE)


def check_message(code: int, stderr: str, where: str) -> None:
    """Check that one line says what could not be read, or that a warning does where it is not needed."""
    assert code in (0, 1), f"{where}: {stderr}"
    assert not UNWANTED.search(stderr), f"{where}: {stderr}"
    assert code == 0 or len([line for line in stderr.splitlines() if line.startswith("Error: ")]) == 1, where
