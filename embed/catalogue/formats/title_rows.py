"""Rows above the header of a sheet: its title, when it was exported, an empty line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from cache.column_names import usual_columns

__all__ = ["N_LOOKED_AT", "n_title_rows"]

N_LOOKED_AT = 60  # rows
MOST_TITLES = 10
ROLES = ("id", "image", "text", "label")
LEAST_ROLES = 2  # of a header that has rows above it
MOSTLY = 0.8  # of the rows below, that are no longer than the header and longer than the titles


def n_title_rows(rows: Sequence[Sequence[str]]) -> int:
    """Return how many of the first rows stand above the header; none where the first may be one.

    The header is known by usual names of columns of two roles, such as an id and a title: a row of other cells may be a
    product. Rows above it have none of these names and half of its cells at most. Cells that are empty at the end of a
    row do not count.

    >>> products = [["7", "cup", "5"], ["8", "bowl", ""]]
    >>> n_title_rows([["Export of May", "", ""], ["SKU", "Title", "Price"], *products])
    1
    >>> n_title_rows([["SKU", "Title", "Price"], *products]), n_title_rows([["code", ""], ["A1", "cup"]])
    (0, 0)
    """
    trimmed = [_trimmed(row) for row in islice(rows, N_LOOKED_AT)]
    for place, header in enumerate(trimmed[: MOST_TITLES + 1]):
        n_roles = sum(bool(usual_columns(role, header)) for role in ROLES)
        if not n_roles:
            continue
        widest = max(map(len, trimmed[:place]), default=0)
        below = trimmed[place + 1 :]
        n_fitting = sum(widest < len(row) <= len(header) for row in below)
        is_below = n_roles >= LEAST_ROLES and 0 < 2 * widest <= len(header)
        return place if is_below and below and n_fitting >= MOSTLY * len(below) else 0
    return 0


def _trimmed(row: Sequence[str]) -> list[str]:
    cells = [cell.strip() for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells
