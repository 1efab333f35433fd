"""Tables of text, whatever file or folder they are read from, in batches, so that memory holds no more than one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from embed.catalogue.bad_lines import BadLines
from embed.catalogue.file_patterns import is_pattern

__all__ = ["BATCH_ROWS", "Table", "first_rows", "folder_of"]

BATCH_ROWS = 65_536  # of a table, that are in memory at once at most


class Table(Protocol):
    """Rows of text under named columns.

    A picture that stands in the table itself has a cell of its own kind, a `PlacedCell`: its name, and its place.
    """

    columns: list[str]

    @property
    def bad_lines(self) -> BadLines:
        """What was left out of the last `batches`, once these are through."""
        ...

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield at most `BATCH_ROWS` rows at a time in the catalogue's order, each column a list of cells."""
        ...


def folder_of(path: Path) -> Path:
    """Return what pictures' paths in a table are relative to, if nothing else is said; of a pattern what is fixed."""
    if path.is_dir():
        return path
    return next((folder for folder in path.parents if not is_pattern(folder)), path.parent)


def first_rows(table: Table) -> dict[str, list[str]]:
    """Return the cells of a table's first rows, at most `BATCH_ROWS`."""
    return next(iter(table.batches()), {name: [] for name in table.columns})
