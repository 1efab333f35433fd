"""Cells that list several pictures of one product."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from urllib.parse import unquote, urlsplit

from cache.cloud.addresses import is_url
from embed.catalogue.formats.class_folders import PICTURE_SUFFIXES

__all__ = [
    "PictureList",
    "is_name_or_url",
    "is_picture_name",
    "last_name",
    "list_pictures",
    "n_last_names_shared",
    "plain_path",
    "split_pictures",
]

LONGEST_PATH = 100  # names
SEPARATORS = "|;\n,"
NAMES = ("path", "file", "filename", "file_name", "image", "src", "hi_res", "large", "url", "link")  # of an object


class PictureList(str):
    """A cell that lists several pictures: it is the first of them, and knows all."""

    __slots__ = ("names",)
    names: list[str]

    def __new__(cls, names: list[str]) -> PictureList:
        cell = super().__new__(cls, names[0])
        cell.names = names
        return cell


def split_pictures(cell: str) -> list[str] | None:
    """Return the pictures that a cell lists, None where it is no list.

    A list is written as JSON or as Python writes one, or has ``|``, ``;``, ``,`` or line ends between names all of
    which end as pictures do: a comma in a name makes no list. Of objects in a list what names the picture counts.

    >>> split_pictures("a.jpg, b.png"), split_pictures('["a.jpg"]'), split_pictures("Smith, John.jpg")
    (['a.jpg', 'b.png'], ['a.jpg'], None)
    >>> split_pictures('[{"src": "https://x.y/a.jpg", "path": "a.jpg"}]')
    ['a.jpg']
    """
    cell = cell.strip()
    if cell.startswith("[") and cell.endswith("]"):
        items = _parse(cell)
        if isinstance(items, list):
            pictures = [name.strip() for item in items if (name := _named(item)) is not None]
            if len(pictures) == len(items):
                return [name for name in pictures if name]
        return None
    for separator in SEPARATORS:
        if separator not in cell:
            continue
        names = [part.strip() for part in cell.split(separator) if part.strip()]
        if len(names) > 1 and all(is_picture_name(name) for name in names):
            return names
    return None


def list_pictures(cells: Sequence[str]) -> str:
    """Return the pictures that several cells name, each once, as a cell lists them; else the first that is not empty.

    They are named where all cells that are not empty are pictures' names or URLs, and not numbers, say, of which a
    template makes paths.

    >>> list_pictures(["1.jpg", "", "2.jpg", "1.jpg"]), list_pictures(["", "1.jpg"]), list_pictures(["1", "2"])
    ('["1.jpg", "2.jpg"]', '1.jpg', '1')
    """
    filled = [cell for cell in cells if cell.strip()]
    pictures = list(dict.fromkeys(name for cell in filled for name in split_pictures(cell) or [cell.strip()]))
    if len(pictures) > 1 and all(map(is_name_or_url, pictures)):
        return json.dumps(pictures, ensure_ascii=False)
    return next(iter(filled), "")


def _named(item: object) -> str | None:
    """Return the picture that an item of a list names, None where it is nothing of the kind."""
    if isinstance(item, dict):
        return next((value for name in NAMES if isinstance(value := item.get(name), str) and value.strip()), None)
    return item if isinstance(item, str) else None


def _parse(cell: str) -> object:
    """Return what a cell holds as JSON, or else as Python writes it; None where it is neither."""
    with suppress(ValueError, RecursionError):
        return json.loads(cell)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return ast.literal_eval(cell)
    return None


def is_picture_name(name: str) -> bool:
    """Return whether a path or URL ends as that of a picture does."""
    return name.partition("?")[0].lower().endswith(PICTURE_SUFFIXES)


def is_name_or_url(cell: str) -> bool:
    """Return whether a cell is a picture's name, or a URL, whatever it ends with."""
    return is_picture_name(cell.strip()) or is_url(cell)


def last_name(cell: str, n: int = 1) -> str:
    r"""Return the last `n` names of the path or URL in a cell, or of the first of those that it lists.

    >>> last_name("C:\\Fotos\\a.jpg"), last_name("https://x.y/b%20c.jpg?v=2"), last_name("u/1.jpg|u/2.jpg", 2)
    ('a.jpg', 'b c.jpg', 'u/1.jpg')
    """
    return "/".join(plain_path(next(iter(split_pictures(cell) or [cell]))).split("/")[-n:])


def n_last_names_shared(cell: str, path: str) -> int:
    """Return how many of their last names a cell and a path share.

    >>> n_last_names_shared("/home/ana/img/mugs/1.jpg", "data/img/mugs/1.jpg")
    3
    """
    cell_names, path_names = last_name(cell, LONGEST_PATH).split("/"), path.split("/")
    pairs = zip(reversed(cell_names), reversed(path_names), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def plain_path(cell: str) -> str:
    """Return a cell with slashes for backslashes, of a URL its path, without what stands before and behind it."""
    path = cell
    if is_url(cell):
        with suppress(ValueError):  # of what only looks like a URL
            path = urlsplit(cell).path
    return unquote(path.replace("\\", "/")).partition("?")[0].lstrip("/")
