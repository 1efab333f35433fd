"""A folder of class folders as a table: each picture is a product, and its folder's name the label."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn

from cache.reading import raise_if_refused
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.table import BATCH_ROWS
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["PICTURE_SUFFIXES", "ClassFolders"]

PICTURE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"
)  # fmt: skip
SPLITS = {"dev", "test", "train", "training", "val", "valid", "validation"}

log = logging.getLogger("embed_once")


class ClassFolders:
    """The pictures below a folder in the layout of torchvision's ImageFolder.

    ``id`` and ``image`` are a picture's path below the folder, ``label`` is the name of the first folder on it. Where
    the first folders are splits (``train``, ``val``, ``test``) and one holds class folders, that is column ``split``,
    and the label is the second; pictures right in a split, which have no label, are left out and told. Names that begin
    with a dot and links to folders are passed over.

    Raises:
        CatalogueError: there are no class folders, or one cannot be read.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.bad_lines = BadLines(path)  # there are none
        tops = _folders(path)
        self.has_splits = all(top.lower() in SPLITS for top in tops) and any(_folders(path / top) for top in tops)
        if next(self._pictures(Counter()), None) is None:
            raise CatalogueError(
                "Expected the catalogue to be a file, a saved dataset, or a folder of .tar files or of class "
                f"folders, but {path} is a folder without class folders that hold pictures."
            )
        if settings.modalities == ("image",):
            log.info("%s holds class folders, which have no texts: pictures alone are encoded.", path)
        self.columns = ["id", "image", "label"] + (["split"] if self.has_splits else [])

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the pictures in the order of their folders' names and their own."""
        left_out: Counter[str] = Counter()
        pictures = self._pictures(left_out)
        while block := list(islice(pictures, BATCH_ROWS)):
            batch = {"id": block, "image": list(block)}
            parts = [picture.split("/") for picture in block]
            batch["label"] = [part[1 if self.has_splits else 0] for part in parts]
            if self.has_splits:
                batch["split"] = [part[0] for part in parts]
            yield batch
        for what, n in left_out.items():
            log.info("%d %s are left out of %s.", n, what, self.path)

    def _pictures(self, left_out: Counter[str]) -> Iterator[str]:
        n_above = 2 if self.has_splits else 1
        for folder, folders, names in os.walk(self.path, onerror=_refused):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if n_links := sum(os.path.islink(os.path.join(folder, name)) for name in folders):
                left_out["links to folders"] += n_links
            relative = Path(folder).relative_to(self.path)
            for name in sorted(name for name in names if not name.startswith(".")):
                if not name.lower().endswith(PICTURE_SUFFIXES):
                    left_out["files whose names are no picture's"] += 1
                elif len(relative.parts) < n_above:
                    left_out["pictures outside of class folders"] += 1
                else:
                    yield (relative / name).as_posix()


def _folders(path: Path) -> list[str]:
    _, names, _ = next(os.walk(path, onerror=_refused))
    return sorted(name for name in names if not name.startswith(".") and not os.path.islink(path / name))


def _refused(error: OSError) -> NoReturn:
    """Tell which folder cannot be read: its class would be missing."""
    if not isinstance(error, PermissionError):
        raise_if_refused(error, error.filename)
    raise CatalogueError(
        f"Expected each folder below a catalogue to be readable, but {error.filename} is not: {error.strerror}. "
        "Permit reading it, or move it elsewhere."
    ) from error
