"""Reading pictures: whole files, and those inside other files, as part of a shard or a cell of a table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache.system.reading import SHORTAGES, raise_if_refused
from embed.errors import ContentError

__all__ = ["MAX_BYTES", "FilePart", "Place", "PlacedCell", "is_inside_file", "read_file", "unreadable"]

MAX_BYTES = 256 * 2**20  # of one picture


class Place(Protocol):
    """Where a picture's bytes are, other than in a file of their own."""

    def read(self) -> bytes:
        """Return the bytes, none where there are none.

        Raises:
            ContentError: they cannot be read, or are more than a picture's file may have.
            UnreadableError: the machine lacks memory or open files.
        """
        ...


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes in the middle of a file."""

    path: Path
    offset: int
    n_bytes: int

    def read(self) -> bytes:
        if self.n_bytes < 0:  # a read of -1 would take all the rest
            raise ContentError("unreadable")
        if self.n_bytes > MAX_BYTES:
            raise ContentError("too_large")
        content = read_file(self.path, offset=self.offset, n_bytes=self.n_bytes)
        if len(content) < self.n_bytes:
            raise ContentError("truncated")
        return content


def read_file(path: Path, *, offset: int = 0, n_bytes: int | None = None) -> bytes:
    """Return the bytes of a whole file, or so many of them from an offset on.

    Raises:
        ContentError: there is no such file, it cannot be read, or it has more bytes than a picture may have.
        UnreadableError: the machine lacks memory or open files.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # few calls: of small pictures a second is 50,000
            if n_bytes is not None:
                file.seek(offset)
                return file.read(n_bytes)
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise ContentError("too_large")
            return file.read()
    except FileNotFoundError as error:
        raise ContentError("missing") from error
    except (OSError, MemoryError) as error:
        raise unreadable(error, path) from error


def unreadable(error: Exception, path: Path) -> ContentError:
    """Return the status of a picture that the system refuses.

    Raises:
        UnreadableError: what is refused is memory or one more open file, of which the picture knows nothing.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in SHORTAGES:
        raise_if_refused(error, path)
    return ContentError("unreadable")


class PlacedCell(str):
    """A cell that stands for a picture inside another file, or behind a link: a name to show, and the place to read."""

    __slots__ = ("place",)
    place: Place | Path

    def __new__(cls, name: str, place: Place | Path) -> PlacedCell:
        cell = super().__new__(cls, name)
        cell.place = place
        return cell


def is_inside_file(cell: str) -> bool:
    """Return whether a cell stands for a picture inside another file."""
    return isinstance(cell, PlacedCell) and not isinstance(cell.place, Path)
