"""A folder of pictures each of which has a file of its name beside it that tells of it: ``7.jpg`` and ``7.json``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

from cache.columns.column_names import usual_columns
from cache.system.reading import raise_if_refused
from embed.amounts import plural
from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES, ClassFolders
from embed.catalogue.formats.json_lines import Names, parse_object
from embed.catalogue.list_columns import keeps_lists
from embed.catalogue.pictures.files import pictures_below
from embed.catalogue.pictures.picture_lists import is_name_or_url, last_name
from embed.catalogue.table import BATCH_ROWS
from embed.settings import ExtractSettings

__all__ = ["Sidecars", "find_sidecars"]

N_LOOKED_AT = 20  # pictures
MOSTLY = 0.5  # of these, that have texts beside them, and different ones
MOST_BYTES = 2**24  # of one
SUFFIXES = (".json", ".txt")  # an object of cells, or a text

log = logging.getLogger("embed_once")


class Sidecars(ClassFolders):
    """The pictures below a folder as `ClassFolders` has them, with the cells that the file beside each has.

    Of a JSON object each name is a column but those that class folders have: their names stay the labels and splits. An
    ``id`` goes before the paths where each picture has another. A picture without a sidecar, or with one that cannot be
    read, has empty cells, which is told, and so are sidecars without a picture.

    Raises:
        CatalogueError: names differ from one to another so much that they are no columns.
    """

    has_sidecars = True

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self._suffix = find_sidecars(path)
        self._keeps_lists = partial(keeps_lists, settings=settings)
        self._read = lru_cache(BATCH_ROWS)(self._read_anew)  # as often as batches are asked for
        super().__init__(path, settings)
        names = Names(path)
        ids = []
        for picture in self._pictures(Counter()):
            row = self._read(picture) or {}
            names.add(row)
            ids.append(row.get("id") or "")
        self._has_ids = len(set(filter(str.strip, ids))) == len(ids)
        self.columns += [name for name in names.plain() if name not in self.columns]
        log.info(
            "%s files of %s tell of the pictures that they are called as.%s",
            self._suffix, path,
            " Their id is left out, since not each picture has another." if any(ids) and not self._has_ids else "",
        )  # fmt: skip

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the pictures in the order of their folders' names and their own."""
        unread: list[str] = []
        for batch in super().batches():
            rows = []
            for picture in batch["image"]:
                row = self._read(picture)
                if row is None:
                    unread.append(picture)
                rows.append(row or {})
            if self._has_ids:
                batch["id"] = [row.get("id") or path for row, path in zip(rows, batch["id"], strict=True)]
            sidecar_columns = [name for name in self.columns if name not in batch]
            yield batch | {name: [row.get(name) or "" for row in rows] for name in sidecar_columns}
        if unread:
            log.warning(
                "%s of %s no %s beside it that can be read, such as %s: these cells are empty.",
                plural(len(unread), "picture"), f"{self.path} {'has' if len(unread) == 1 else 'have'}",
                self._suffix, unread[0],
            )  # fmt: skip

    def _read_anew(self, picture: str) -> dict[str, str | None] | None:
        path = Path(getattr(picture, "place", self.path / picture))  # a placed cell's place: behind a link
        return _cells_beside(path, self._suffix, keeps_lists=self._keeps_lists)

    def _sidecars(self, names: list[str]) -> set[str]:
        pictures = {name for name in names if name.lower().endswith(PICTURE_SUFFIXES)}
        pictures |= {name.rpartition(".")[0] for name in pictures}
        return {name for name in names if name.endswith(self._suffix) and name.removesuffix(self._suffix) in pictures}


def find_sidecars(path: Path) -> str:
    """Return the suffix of the files with texts beside most of the first pictures below a folder; "" where none are.

    The texts differ, as names of classes and of cameras do not. Objects that name their pictures in a folder without
    others are a table, which may have products without pictures, and with several.
    """
    pictures = [path / name for name in islice(pictures_below(path), N_LOOKED_AT)]
    for suffix in SUFFIXES:
        rows = {picture: cells for picture in pictures if (cells := _cells_beside(picture, suffix))}
        if rows and _are_table(path, rows):
            return ""
        texts = {_description(picture, cells) for picture, cells in rows.items()} - {""}
        if len(texts) > MOSTLY * len(pictures):
            return suffix
    return ""


def _are_table(path: Path, rows: Mapping[Path, Mapping[str, str | None]]) -> bool:
    """Return whether sidecars right in a folder share their names, and all have a cell that names the picture."""
    return len({frozenset(cells) for cells in rows.values()}) == 1 and all(
        picture.parent == path and picture.stem.lstrip("0") in {_stem(cell).lstrip("0") for cell in cells.values()}
        for picture, cells in rows.items()
    )


def _stem(cell: str | None) -> str:
    return Path(last_name(cell or "")).stem


def _description(picture: Path, cells: Mapping[str, str | None]) -> str:
    """Return the text that a picture's sidecar tells of it; "" where it tells none."""
    for name in usual_columns("text", cells):
        text = (cells[name] or "").strip()
        if _has_words(text) and text != picture.stem and not is_name_or_url(text):
            return text
    return ""


def _cells_beside(
    picture: Path, suffix: str, *, keeps_lists: Callable[[str], bool] = lambda _: True
) -> dict[str, str | None] | None:
    """Return the cells of a picture's sidecar; None where there is none, or one that is no object or text."""
    for path in (picture.with_suffix(suffix), picture.with_name(picture.name + suffix)):
        with suppress(ValueError):
            if (text := _text_of(path)) is not None:
                return {"text": text.strip()} if suffix == ".txt" else parse_object(text, keeps_lists=keeps_lists)
    return None


def _has_words(text: str) -> bool:
    """Return whether words are half of a text, and not numbers most, as of boxes and outlines in pictures.

    >>> _has_words("a red mug, 0.5 l"), _has_words("0 0.5 0.5 9.5e-05 1"), _has_words("10,20,30,20,30,40,mugs")
    (True, False, False)
    """
    parts = re.findall(r"[^\s,;]+", text)
    n_words = sum(re.match(r"\W*[^\W\d_]", part) is not None for part in parts)
    return n_words > 0 and 2 * n_words >= len(parts)


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
