"""The folders below one that pages look through for pictures: the nearest, and not too many."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

__all__ = ["MOST_ENTRIES", "folders_below"]

MOST_FOLDERS = 100  # that are looked at
MOST_ENTRIES = 10_000  # of these folders
MOST_DEPTH = 3  # of a folder below the root


def folders_below(root: Path) -> Iterator[Path]:
    """Yield the first folders below one, the nearest first, without links and names that begin with a dot."""
    waiting = deque([(root, 0)])
    n_folders = n_entries = 0
    while waiting and n_entries < MOST_ENTRIES:
        folder, depth = waiting.popleft()
        names = []
        try:
            with os.scandir(folder) as entries:
                for entry in islice(entries, MOST_ENTRIES - n_entries):
                    n_entries += 1
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                        names.append(entry.name)
        except OSError:  # no permission, or it is gone
            continue
        for name in sorted(names):
            n_folders += 1
            if n_folders > MOST_FOLDERS:
                return
            yield folder / name
            if depth + 1 < MOST_DEPTH:
                waiting.append((folder / name, depth + 1))
