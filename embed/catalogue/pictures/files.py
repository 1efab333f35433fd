"""The pictures below a folder, by their names alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES

__all__ = ["MOST_FILES", "pictures_below"]

MOST_FILES = 500_000  # looked through at most: a search must not take longer than the work


def pictures_below(root: Path, *, with_links: bool = False) -> Iterator[str]:
    """Yield the paths of pictures relative to `root`, with ``/`` between, a folder's in the order of their names.

    Names that begin with a dot are passed over, and so are folders that cannot be read, and links to folders, unless
    asked for. It ends after `MOST_FILES` files, in a circle of links, too.
    """
    for path in islice(_files_below(root, with_links=with_links), MOST_FILES):
        if path.lower().endswith(PICTURE_SUFFIXES):
            yield path


def _files_below(root: Path, *, with_links: bool) -> Iterator[str]:
    for folder, folders, names in os.walk(root, followlinks=with_links):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(folder).relative_to(root)
        for name in sorted(names):
            if not name.startswith("."):
                yield (relative / name).as_posix()
