"""What a column's cells seem to be: they are all text, so it is a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cache.columns.column_types import guess_kind, is_missing

__all__ = ["KINDS", "kind_of"]

KINDS = ("text", "categorical", "number", "boolean", "date", "id", "empty")

LEAST_ROWS = 20  # below, that all values differ says little
LONGEST_CATEGORY = 40.0  # letters of a value, on average

_CODE = re.compile(r"[^\s,;|]+")


def kind_of(counts: Mapping[str, int]) -> str:
    """Return one of `KINDS`, judged by how many rows each distinct cell has; words for "no value" do not count.

    It is the kind that metadata is encoded by (`cache.columns.column_types`), except that ids and texts, of no
    use as metadata, are told apart. A column is an id when nearly every row has a whole number or a word that no other
    has. It is categorical when a value has two rows on average and is short, or has `LEAST_ROWS`; else it is text.

    >>> kind_of({"3.5": 1, "12": 2, "NaN": 1})
    'number'
    >>> kind_of({"red": 5, "blue": 3, "": 2})
    'categorical'
    """
    kind = guess_kind(counts)
    if kind is None:
        return "empty"
    if kind not in ("number", "categorical"):
        return kind
    present = {cell.strip(): n for cell, n in counts.items() if not is_missing(cell, "number")}
    n_rows = sum(present.values())
    are_distinct = n_rows >= LEAST_ROWS and len(present) >= 0.99 * n_rows
    if kind == "number":
        return "id" if are_distinct and all(cell.isdecimal() for cell in present) else kind
    mean_length = sum(len(cell) * n for cell, n in present.items()) / n_rows
    if 2 * len(present) <= n_rows and (mean_length <= LONGEST_CATEGORY or LEAST_ROWS * len(present) <= n_rows):
        return kind
    if are_distinct and all(_CODE.fullmatch(cell) for cell in present):
        return "id"
    return "text"
