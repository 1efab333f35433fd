"""A picture's path made of a row's cells: ``images/{id}.jpg``."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from embed.catalogue.pictures.picture_lists import last_name, split_pictures
from embed.errors import SettingError

__all__ = ["ImageTemplate", "literal", "split_templates", "with_last_names"]

MOST_LAST = 9  # names of a path, which one digit says

_LAST = re.compile("last([1-9])")  # names of a path
_COMMA = re.compile(r",(?![^{}]*\})")  # but none inside braces


class ImageTemplate:
    """Literal text and columns in braces, each with a format of Python's where one is wanted.

    ``{id:0>6}`` fills up with zeros on the left, as ``{id:06d}`` does of numbers, and ``{id:.3}`` takes the first three
    letters. ``{url:name}`` takes the last name of a URL or path, ``{url:stem}`` that without its suffix, and
    ``{path:last3}`` the last three.

    >>> ImageTemplate("images/{id:.2}/{id}.jpg").path({"id": "15970"})
    'images/15/15970.jpg'
    >>> ImageTemplate("images/{url:name}").path({"url": "https://shop.example/media/7.jpg?size=2"})
    'images/7.jpg'

    Raises:
        SettingError: it has no column, or braces that Python's formats do not know.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise self._wrong(str(error)) from error
        self._parts = [(literal, name, spec or "") for literal, name, spec, _ in parts]
        self.columns = list(dict.fromkeys(name for _, name, _ in self._parts if name is not None))
        if not self.columns or not all(self.columns):
            raise self._wrong("it names no column in braces")
        for _, name, spec in self._parts:
            if name is not None:
                try:
                    _formatted("0", spec)
                except ValueError as error:
                    raise self._wrong(str(error)) from error

    def path(self, row: Mapping[str, str]) -> str:
        """Return the path for a row's cells; "" where a cell that it needs is empty, or no number where it must be."""
        path = ""
        for literal, name, spec in self._parts:
            path += literal
            if name is not None:
                cell = row[name].strip()
                try:
                    formatted = _formatted(cell, spec)
                except ValueError:
                    return ""
                if not cell or not formatted:
                    return ""
                path += formatted
        return path

    def paths(self, row: Mapping[str, str]) -> list[str]:
        """Return the paths for a row's cells, several where a cell lists pictures.

        >>> ImageTemplate("images/{urls:name}").paths({"urls": "https://x.y/a.jpg, https://x.y/b.jpg"})
        ['images/a.jpg', 'images/b.jpg']
        """
        for name in self.columns:
            if listed := split_pictures(row[name]):
                return [path for picture in listed if (path := self.path({**row, name: picture}))]
        return [path] if (path := self.path(row)) else []

    def _wrong(self, reason: str) -> SettingError:
        return SettingError(
            "--image-template: expected a path with columns in braces, such as 'images/{id}.jpg', got "
            f"{self.text!r}: {reason}."
        )


def split_templates(texts: str | Iterable[str]) -> Sequence[ImageTemplate]:
    """Return the templates of one text or of several, each of which may hold some with commas between.

    Raises:
        SettingError: one is no template.
    """
    texts = [texts] if isinstance(texts, str) else texts
    return [ImageTemplate(part.strip()) for text in texts for part in _COMMA.split(text)]


def with_last_names(path: str, column: str, n: int) -> str:
    """Return the template of a path whose last `n` names are those of a column's cell; "" where they are one or many.

    >>> with_last_names("data/img/mugs/1.jpg", "file", 2)
    'data/img/{file:last2}'
    """
    if not 1 < n <= MOST_LAST:
        return ""
    return "/".join([*map(literal, path.split("/")[:-n]), f"{{{column}:last{n}}}"])


def literal(text: str) -> str:
    """Return the template of a literal text, whose braces mean no column."""
    return text.replace("{", "{{").replace("}", "}}")


def _formatted(cell: str, spec: str) -> str:
    """Return a cell as a format, Python's or one of ours, has it.

    Raises:
        ValueError: it is no format, or one of numbers, and the cell is none.
    """
    if spec in ("name", "stem"):
        name = last_name(cell)
        return name if spec == "name" else PurePosixPath(name).stem
    if match := _LAST.fullmatch(spec):
        return last_name(cell, int(match[1]))
    return format(int(cell), spec) if spec.endswith("d") else format(cell, spec)
