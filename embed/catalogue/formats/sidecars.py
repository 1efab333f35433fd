"""A folder of pictures each of which has a file of its name beside it that tells of it: ``7.jpg`` and ``7.json``."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from cache.column_names import usual_columns
from cache.reading import raise_if_refused
from embed.amounts import plural
from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES, ClassFolders
from embed.catalogue.formats.json_lines import Names, parse_object
from embed.catalogue.list_columns import keeps_lists
from embed.settings import ExtractSettings

__all__ = ["Sidecars", "find_sidecars"]

N_LOOKED_AT = 20  # pictures
MOSTLY = 0.5  # of these, that have a sidecar
MOST_BYTES = 2**24  # of one
SUFFIXES = (".json", ".txt")  # an object of cells, or a text
FOLDER = "folder"  # the column of what class folders say, where sidecars have labels
ANNOTATIONS = {"annotations", "imageData", "objects", "shapes"}  # of places in a picture, which are no product's cells

log = logging.getLogger("embed_once")


class Sidecars(ClassFolders):
    """The pictures below a folder as `ClassFolders` has them, with the cells that the file beside each has.

    Of a JSON object each name is a column; a text is one. An ``id`` and labels of theirs go before the paths and the
    folders' names. A picture without a sidecar, or with one that cannot be read, has empty cells, which is told, and
    so are sidecars without a picture.

    Raises:
        CatalogueError: names differ from one to another so much that they are no columns.
    """

    has_sidecars = True

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self._suffix = find_sidecars(path)
        self._keeps_lists = partial(keeps_lists, settings=settings)
        self._unread: list[str] = []
        super().__init__(path, settings)
        own = self.columns
        if self._suffix == ".txt":
            told = ["text"]
        else:
            names = Names(path)
            for picture in self._pictures(Counter()):
                names.add(self._read(picture))
            told = [name for name in names.plain() if name != "image"]
        self._folder = FOLDER if usual_columns("label", told) and "label" in own else "label"
        own = [self._folder if name == "label" else name for name in own]
        self.columns = [*own, *(name for name in told if name not in own)]
        log.info("%s files of %s tell of the pictures that they are called as.", self._suffix, path)

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the pictures in the order of their folders' names and their own."""
        self._unread = []
        for batch in super().batches():
            if "label" in batch:
                batch[self._folder] = batch.pop("label")
            rows = [self._read(picture) for picture in batch["image"]]
            for name in self.columns:
                if name != "image":
                    cells = batch.get(name) or [""] * len(rows)
                    batch[name] = [row.get(name) or cell for row, cell in zip(rows, cells, strict=True)]
            yield {name: batch[name] for name in self.columns}
        if self._unread:
            log.warning(
                "%s of %s no %s beside it that can be read, such as %s: these cells are empty.",
                plural(len(self._unread), "picture"), f"{self.path} {'has' if len(self._unread) == 1 else 'have'}",
                self._suffix, self._unread[0],
            )  # fmt: skip

    def _read(self, picture: str) -> dict[str, str | None]:
        """Return the cells of a picture's sidecar; none where there is none, or one that is no object or text."""
        for path in _places(Path(getattr(picture, "place", self.path / picture)), self._suffix):
            with suppress(ValueError):
                if (text := _text_of(path)) is not None:
                    if self._suffix == ".txt":
                        return {"text": text.strip()}
                    return parse_object(text, keeps_lists=self._keeps_lists)
        self._unread.append(str(picture))
        return {}

    def _beside(self, names: list[str]) -> set[str]:
        pictures = {name for name in names if name.lower().endswith(PICTURE_SUFFIXES)}
        pictures |= {name.rpartition(".")[0] for name in pictures}
        return {name for name in names if name.endswith(self._suffix) and name.removesuffix(self._suffix) in pictures}


def find_sidecars(path: Path) -> str:
    """Return the suffix of the files beside most of the first pictures below a folder; "" where they have none.

    Annotations of places in pictures, as of LabelMe's and YOLO's, tell nothing of a product.
    """
    pictures = list(islice(_pictures(path), N_LOOKED_AT))
    for suffix in SUFFIXES:
        texts = [next(filter(None, map(_text_of, _places(picture, suffix))), "") for picture in pictures]
        if pictures and sum(_tells(text, suffix) for text in texts) >= MOSTLY * len(pictures):
            return suffix
    return ""


def _tells(text: str, suffix: str) -> bool:
    """Return whether a sidecar's text tells of a product.

    >>> _tells('{"title": "cup"}', ".json"), _tells('{"shapes": []}', ".json"), _tells("0 0.5 0.5 1 1", ".txt")
    (True, False, False)
    """
    if suffix == ".txt":
        return any(character.isalpha() for character in text)
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        return isinstance(value, dict) and bool(value) and not ANNOTATIONS & value.keys()
    return False


def _pictures(path: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


def _places(picture: Path, suffix: str) -> tuple[Path, Path]:
    return picture.with_suffix(suffix), picture.with_name(picture.name + suffix)


def _text_of(path: Path) -> str | None:
    """Return a file's text; None where there is none, or more than one that tells of a picture."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise_if_refused(error, path)
        return None
    return None if len(content) > MOST_BYTES else content.decode("utf-8-sig", "surrogateescape")
