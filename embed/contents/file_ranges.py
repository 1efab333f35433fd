"""Pictures that are no files of their own: part of a shard, a cell of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache.reading import SHORTAGES, raise_if_refused
from embed.errors import ContentError

__all__ = ["MAX_BYTES", "FilePart", "Place", "PlacedCell", "unreadable"]

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
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self.offset)
                content = file.read(self.n_bytes)
        except FileNotFoundError as error:
            raise ContentError("missing") from error
        except (OSError, MemoryError) as error:
            raise unreadable(error, self.path) from error
        if len(content) < self.n_bytes:
            raise ContentError("truncated")
        return content


def unreadable(error: Exception, path: Path) -> ContentError:
    """Return the status of a picture that the system refuses.

    Raises:
        UnreadableError: what is refused is memory or one more open file, of which the picture knows nothing.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in SHORTAGES:
        raise_if_refused(error, path)
    return ContentError("unreadable")


class PlacedCell(str):
    """A cell that stands for a picture inside another file: a name to show, and the place to read."""

    __slots__ = ("place",)
    place: Place

    def __new__(cls, name: str, place: Place) -> PlacedCell:
        cell = super().__new__(cls, name)
        cell.place = place
        return cell
