"""Which folder a cache's pictures lie in, where their paths are relative to one that it does not know."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cache import Cache, content_key
from heads.reports.shard_pictures import split_member
from heads.reports.thumbnails import Thumbnails

__all__ = ["find_picture_folder", "no_pictures_note"]

N_SAMPLED = 8  # pictures, by which a folder is known
MOST_FOLDERS = 2000  # that are looked at
MOST_DEPTH = 3  # of a folder below the root

IMAGE = "image"

_IN_TABLE = re.compile(r"\.(parquet|pq|arrow)#[0-9]+$", re.IGNORECASE)


def find_picture_folder(cache: Cache, cells: Sequence[str], root: Path) -> Path:
    """Return the folder that the cells' paths are relative to: `root`, or one below it where nothing is at `root`.

    A catalogue that is a folder, of class folders or of shards, names pictures relative to itself, and a cache that
    lies beside it knows nothing of its name. A folder is taken if the files that cells name there have the very bytes
    that the cache has vectors of, by their SHA-256, for half of a sample or more. Nothing outside `root` is looked at.
    """
    sample = _sample(cache, cells)
    at_root = Thumbnails(root)
    if not sample or any(at_root.content(cell) is not None for cell in sample):
        return root
    firsts = [split_member(cell)[0] for cell in sample]
    for folder in _folders_below(root):
        if 2 * sum(os.path.isfile(folder / first) for first in firsts) < len(firsts):
            continue
        found = Thumbnails(folder)
        contents = ((key, found.content(cell)) for cell, key in sample.items())
        if 2 * sum(content is not None and content_key(content) == key for key, content in contents) >= len(sample):
            return folder
    return root


def no_pictures_note(column: str, cells: Sequence[str]) -> str:
    """Return why a page has no pictures though a column names such, and what to do."""
    if any(_IN_TABLE.search(cell) for cell in cells[:N_SAMPLED]):
        return f"The pictures that {column} names stand inside tables, which pages do not read."
    return (
        f"None of the pictures that {column} names was found below the cache's folder; --image-root names the folder "
        "that their paths are relative to: that of the catalogue, of class folders the catalogue itself."
    )


def _sample(cache: Cache, cells: Sequence[str]) -> dict[str, str]:
    """Return some cells that name pictures by a relative path, with the key of what each product's vector is of."""
    if IMAGE not in cache.modalities or not len(cells):
        return {}
    rows = cache.rows(IMAGE)
    having = np.flatnonzero(rows >= 0)
    chosen = having[np.linspace(0, max(0, len(having) - 1), N_SAMPLED).astype(int)] if len(having) else having
    sample = {}
    for place in dict.fromkeys(chosen.tolist()):
        cell, row = cells[place].strip(), int(rows[place])
        if cell and "\0" not in cell and not os.path.isabs(cell):
            sample[cell] = _key(cache, row)
    return sample


def _key(cache: Cache, row: int) -> str:
    [key] = cache.tables.read(f"{IMAGE}/key", slice(row, row + 1))
    return bytes(key).decode("ascii", "replace")


def _folders_below(root: Path) -> Iterator[Path]:
    """Yield the folders below one, the nearest first; none that is a link or begins with a dot."""
    waiting = deque([(root, 0)])
    n_folders = 0
    while waiting:
        folder, depth = waiting.popleft()
        try:
            names = sorted(
                entry.name
                for entry in os.scandir(folder)
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
        except OSError:  # it may not be read, or is gone
            continue
        for name in names:
            n_folders += 1
            if n_folders > MOST_FOLDERS:
                return
            yield folder / name
            if depth + 1 < MOST_DEPTH:
                waiting.append((folder / name, depth + 1))
