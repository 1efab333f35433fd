"""Rows above the header of a sheet: its title, when it was exported, an empty line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from cache.column_types import guess_kind

__all__ = ["N_LOOKED_AT", "n_title_rows"]

N_LOOKED_AT = 60  # rows
MOST_TITLES = 10
LEAST_NAMES = 3  # of a header
MOSTLY = 0.8  # of the rows below, that are no longer than the header and longer than the titles


def n_title_rows(rows: Sequence[Sequence[str]]) -> int:
    """Return how many of the first rows stand above the header; none where the first may be one.

    Those have half of its cells at most, and it has different words in all of its own. Cells that are empty at the end
    of a row do not count.

    >>> products = [["7", "cup", "5"], ["8", "bowl", ""]]
    >>> n_title_rows([["Export of May", "", ""], ["SKU", "Title", "Price"], *products])
    1
    >>> n_title_rows([["SKU", "Title", "Price"], *products])
    0
    """
    trimmed = [_trimmed(row) for row in islice(rows, N_LOOKED_AT)]
    for place, header in enumerate(trimmed[: MOST_TITLES + 1]):
        widest = max(map(len, trimmed[:place]), default=0)
        if len(header) >= LEAST_NAMES and _is_header(header) and 2 * widest <= len(header):
            below = trimmed[place + 1 :]
            n_fitting = sum(widest < len(row) <= len(header) for row in below)
            return place if len(below) > 1 and n_fitting >= MOSTLY * len(below) else 0
        if len(header) >= LEAST_NAMES:  # it is no title
            return 0
    return 0


def _trimmed(row: Sequence[str]) -> list[str]:
    cells = [cell.strip() for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _is_header(cells: Sequence[str]) -> bool:
    return all(cells) and len(set(cells)) == len(cells) and all(guess_kind([cell]) == "categorical" for cell in cells)
