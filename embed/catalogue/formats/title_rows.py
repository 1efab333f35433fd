"""Rows above the header of a sheet: its title, when it was exported, names for people above those for programs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from cache.columns.column_names import usual_columns

__all__ = ["N_LOOKED_AT", "n_title_rows"]

N_LOOKED_AT = 60  # rows
MOST_TITLES = 10
ROLES = ("id", "image", "text", "label")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")

LEAST_ROLES = 2  # of a header that has rows above it
MOSTLY = 0.8  # of the rows below, that are no longer than the header and longer than the titles


def n_title_rows(rows: Sequence[Sequence[str]]) -> int:
    """Return how many of the first rows stand above the header; none where the first may be one.

    The header is known by usual names of columns of two roles, such as an id and a title: a row of other cells may be a
    product. Rows above it have none of these names and half of its cells at most. Cells that are empty at the end of a
    row do not count. Two kinds of rows say more: a whole number alone counts the rows below, so that names of one role
    do; and field names, such as marketplaces' templates have below names for people, are the header however full those
    are.

    >>> products = [["7", "cup", "5"], ["8", "bowl", ""]]
    >>> n_title_rows([["Export of May", "", ""], ["SKU", "Title", "Price"], *products])
    1
    >>> n_title_rows([["SKU", "Title", "Price"], *products]), n_title_rows([["code", ""], ["A1", "cup"]])
    (0, 0)
    """
    trimmed = [_trimmed(row) for row in islice(rows, N_LOOKED_AT)]
    n_titles = next((n for n, row in enumerate(trimmed[: MOST_TITLES + 1]) if _n_roles(row)), 0)
    candidate, *following = trimmed[n_titles:] or [[]]
    if following and following[0] != candidate and _are_field_names(following[0]):
        n_titles += 1  # the candidate has names for people
    if not n_titles:
        return 0
    titles, header, products = trimmed[:n_titles], trimmed[n_titles], trimmed[n_titles + 1 :]
    widest_title = 1 if _are_field_names(header) else max(map(len, titles))
    least_roles = 1 if all(len(row) == 1 and row[0].isdecimal() for row in titles) else LEAST_ROLES
    n_fitting = sum(widest_title < len(row) <= len(header) for row in products)
    is_header = _n_roles(header) >= least_roles and 0 < 2 * widest_title <= len(header)
    return n_titles if is_header and products and n_fitting >= MOSTLY * len(products) else 0


def _n_roles(row: Sequence[str]) -> int:
    """Return how many roles a row has usual names of."""
    names = [cell for cell in row if not cell.endswith(":")]  # which stands above a header, before what it names
    return sum(bool(usual_columns(role, names)) for role in ROLES)


def _are_field_names(row: Sequence[str]) -> bool:
    """Return whether a row's cells are names that a program reads, each another, some of them usual ones.

    >>> _are_field_names(["item_sku", "item_name", "price"]), _are_field_names(["B_7", "label", "label"])
    (True, False)
    """
    is_of_fields = all(map(_FIELD.fullmatch, row)) and len(set(row)) == len(row)
    return is_of_fields and any("_" in cell for cell in row) and _n_roles(row) >= LEAST_ROLES


def _trimmed(row: Sequence[str]) -> list[str]:
    cells = [cell.strip() for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells
