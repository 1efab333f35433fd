"""A folder of class folders as a table: each picture is a product, and its folder's name the label."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from embed.catalogue.bad_lines import BadLines
from embed.catalogue.file_patterns import refuse_folder
from embed.catalogue.split_names import SPLITS
from embed.catalogue.table import BATCH_ROWS
from embed.contents.file_ranges import PlacedCell
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["PICTURE_SUFFIXES", "ClassFolders", "holds_pictures"]

PICTURE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"
)  # fmt: skip
OUTSIDE = "pictures outside of class folders"
N_NAMED = 3  # tables that are told of

_TABLE = re.compile(r"\.(arrow|csv|jsonl?|ndjson|parquet|pq|tab|tsv|xlsx)(\.(bz2|gz|xz|zip|zst))?$", re.IGNORECASE)

log = logging.getLogger("embed_once")


class ClassFolders:
    """The pictures below a folder in the layout of torchvision's ImageFolder.

    ``id`` and ``image`` are a picture's path below the folder, ``label`` is the name of the first folder on it; one
    that alone holds all class folders, such as ``images``, is no class. Folders named as splits are (``train``,
    ``val``, ``test``), above the class folders or in them, are no classes but column ``split``; pictures right in a
    split, which have no label, are left out and told, and so are tables. Names that begin with a dot are passed over.
    Links to folders are followed, but for those that lead into the catalogue, or to what was followed before.
    Where pictures lie right in the folder, and no others below it, none has a label.

    Raises:
        CatalogueError: there are no pictures, or a folder cannot be read.
    """

    has_sidecars = False  # files that tell of pictures beside them

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.bad_lines = BadLines(path)  # there are none
        self._tables: list[str] = []
        self.split_at, self.label_at = _layout(path)  # which folder of a path is which, from 0
        outside: Counter[str] = Counter()
        is_empty = next(self._pictures(outside), None) is None
        self.has_labels = not (is_empty and outside[OUTSIDE] and self.split_at is None and not self._tables)
        if not self.has_labels:
            if not self.has_sidecars:
                log.info("%s holds pictures, and none in class folders: they have no labels.", path)
            self.label_at = -1
        elif is_empty:
            tables = f" {self._shown_tables()} Name one as the catalogue." if self._tables else ""
            splits = ", and splits are no classes" if self.split_at == 0 else ""
            raise CatalogueError(
                "Expected the catalogue to be a file, a saved dataset, or a folder of .tar files, of class folders or "
                f"of pictures with metadata.csv, but {path} is a folder without class folders that hold "
                f"pictures{splits}.{tables}"
            )
        elif settings.modalities == ("image",):
            log.info("%s holds class folders, which have no texts: pictures alone are encoded.", path)
        self.columns = ["id", "image", *["label"] * self.has_labels, *["split"] * (self.split_at is not None)]

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the pictures in the order of their folders' names and their own."""
        left_out: Counter[str] = Counter()
        pictures = self._pictures(left_out)
        while block := list(islice(pictures, BATCH_ROWS)):
            batch = {"id": [str(cell) for cell in block], "image": block}
            parts = [picture.split("/") for picture in block]
            if self.has_labels:
                batch["label"] = [part[self.label_at] for part in parts]
            if self.split_at is not None:
                batch["split"] = [part[self.split_at] if len(part) > self.split_at + 1 else "" for part in parts]
            yield batch
        for kind, n in left_out.items():
            log.info("Left out of %s: %s (%d).", self.path, kind, n)
        if self._tables:
            log.warning("%s They are not read: the folders' names are the labels.", self._shown_tables())

    def _sidecars(self, names: list[str]) -> set[str]:  # noqa: ARG002 - by their names
        """Return which of a folder's files are sidecars."""
        return set()

    def _shown_tables(self) -> str:
        more = f" and {len(self._tables) - N_NAMED} more" if len(self._tables) > N_NAMED else ""
        return f"{self.path} holds tables among its pictures: {', '.join(self._tables[:N_NAMED])}{more}."

    def _pictures(self, left_out: Counter[str]) -> Iterator[str]:
        """Yield the pictures' paths, those behind links as placed cells; note tables, and count what is left out."""
        self._tables = []
        links = _Links(self.path)
        for folder, folders, names in os.walk(self.path, onerror=refuse_folder, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            folders[:] = [name for name in folders if links.is_followed(folder, name, left_out)]
            relative = Path(folder).relative_to(self.path)
            linked = links.target_of(folder)
            sidecars = self._sidecars(names)
            for name in sorted(name for name in names if name not in sidecars and not name.startswith(".")):
                path = (relative / name).as_posix()
                if not name.lower().endswith(PICTURE_SUFFIXES):
                    if relative.parts and _TABLE.search(name):
                        self._tables.append(path)
                    else:
                        left_out["files whose names are no picture's"] += 1
                elif len(relative.parts) <= self.label_at:
                    left_out[OUTSIDE] += 1
                else:
                    yield path if linked is None else PlacedCell(path, linked / name)


class _Links:
    """Links to folders that a walk comes upon, and which of them it follows."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.targets: set[Path] = set()

    def is_followed(self, folder: str, name: str, left_out: Counter[str]) -> bool:
        """Return whether to go into a folder; a link is counted where not."""
        if not os.path.islink(os.path.join(folder, name)):
            return True
        target = Path(os.path.realpath(os.path.join(folder, name)))
        if target.is_relative_to(self.root):
            left_out["links to folders of its own"] += 1
            return False
        if not self.targets.isdisjoint((target, *target.parents)) or Path(folder).resolve().is_relative_to(target):
            left_out["links to folders that were followed before"] += 1
            return False
        self.targets.add(target)
        return True

    def target_of(self, folder: str) -> Path | None:
        """Return where a folder is that stands outside of the catalogue's; None for one in it."""
        if not self.targets:
            return None
        target = Path(os.path.realpath(folder))
        return None if target.is_relative_to(self.root) else target


def _layout(path: Path, root: Path | None = None) -> tuple[int | None, int]:
    """Return which folder of a picture's path is its split, if any, and which its label; `root` is the catalogue."""
    root = root or path
    tops = _folders(path)
    if _are_splits(tops):
        return 0, 1
    if (wrapper := _wrapper(path, root)) is not None:
        split_at, label_at = _layout(path / wrapper, root)
        return None if split_at is None else split_at + 1, label_at + 1
    inner = {top: _folders(path / top) for top in tops}
    if any(inner.values()) and all(name.lower() in SPLITS for names in inner.values() for name in names):
        return 1, 0
    return None, 0


def _wrapper(path: Path, root: Path) -> str | None:
    """Return the folder that alone holds pictures, and these in class folders of its own: it is no class."""
    tops = list(islice((name for name in _folders(path) if holds_pictures(path / name, root=root)), 2))
    if len(tops) != 1:
        return None
    classes = [name for name in _folders(path / tops[0]) if holds_pictures(path / tops[0] / name, root=root)]
    if _are_splits(classes):  # of classes, or of a single class
        classes = [name for split in classes for name in _folders(path / tops[0] / split)]
    is_wrapper = len(classes) > 1 or (len(classes) == 1 and _wrapper(path / tops[0], root) is not None)
    return tops[0] if is_wrapper and not holds_pictures(path / tops[0], deep=False) else None


def holds_pictures(folder: Path, *, deep: bool = True, root: Path | None = None) -> bool:
    """Return whether pictures lie in a folder, or with `deep` below it; what begins with a dot is passed over.

    With `root`, the catalogue, links to folders are followed as for its pictures.
    """
    links = None if root is None else _Links(root)
    for current, folders, names in os.walk(folder, followlinks=links is not None):
        if any(name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith(".") for name in names):
            return True
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        if links is not None:
            folders[:] = [name for name in folders if links.is_followed(current, name, Counter())]
    return False


def _are_splits(names: list[str]) -> bool:
    """Return whether folders are splits: all are named so, or two, as a class of that name is alone."""
    n_splits = sum(name.lower() in SPLITS for name in names)
    return n_splits > 1 or 0 < n_splits == len(names)


def _folders(path: Path) -> list[str]:
    _, names, _ = next(os.walk(path, onerror=refuse_folder))
    return sorted(name for name in names if not name.startswith("."))
