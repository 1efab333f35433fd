"""What a column of cells holds: categories, numbers, yes or no, dates; and its cells as such."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np

__all__ = [
    "DATE_PARTS",
    "guess_kind",
    "is_missing",
    "parse_booleans",
    "parse_categories",
    "parse_dates",
    "parse_numbers",
]

MISSING_WORDS = {"", "nan", "na", "n/a", "null", "none", "<na>", "nat"}  # none of them is a number, a date, yes or no
BOOLEANS = {
    "true": "true", "yes": "true", "y": "true", "t": "true", "1": "true", "1.0": "true",
    "false": "false", "no": "false", "n": "false", "f": "false", "0": "false", "0.0": "false",
}  # fmt: skip
DATE_PARTS = ("year", "month", "day", "weekday", "hour")
LARGEST = 1e30  # a number beyond it is no measurement, and its square overflows
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_CODE = re.compile(r"[+-]?0[0-9]")  # 00123 is a name made of digits
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-9.]+)?(Z|[+-][0-9:]+)?)?")


def guess_kind(cells: Sequence[str]) -> str | None:
    """Return ``boolean``, ``number``, ``date`` or ``categorical``; None where there is nothing but missing cells.

    A kind is that of all cells that are there: one with stray text makes its column categorical, and so do digits that
    begin with a zero, which are a code.

    >>> guess_kind(["yes", "NO", ""]), guess_kind(["12", "1.5e3"]), guess_kind(["12 cm", "3"]), guess_kind(["007"])
    ('boolean', 'number', 'categorical', 'categorical')
    """
    filled = [cell.strip() for cell in set(cells) if not is_missing(cell, "number")]
    if not filled:
        return None
    if all(cell.casefold() in BOOLEANS for cell in filled):
        return "boolean"
    if all(map(_is_number, filled)) and np.isfinite(parse_numbers(filled)).any():
        return "number"
    if all(_date_parts(cell) for cell in filled):
        return "date"
    return "categorical"


def is_missing(cell: str, kind: str) -> bool:
    """Return whether a cell says nothing: it is empty, or no number, date, yes or no where all others are.

    >>> is_missing("NA", "number"), is_missing("NA", "categorical"), is_missing(" ", "categorical")
    (True, False, True)
    """
    if kind in ("categorical", "hashed", "counts"):
        return not cell.strip()
    return cell.strip().casefold() in MISSING_WORDS


def parse_categories(cells: Sequence[str]) -> list[str]:
    """Return the cells with their spaces made one; an empty one is a category as any."""
    return _each(cells, lambda cell: " ".join(cell.split()))


def parse_booleans(cells: Sequence[str]) -> list[str]:
    """Return ``true``, ``false`` or an empty cell each; what is none of them stays as it is."""

    def parse(cell: str) -> str:
        word = cell.strip().casefold()
        return "" if word in MISSING_WORDS else BOOLEANS.get(word, word)

    return _each(cells, parse)


def parse_numbers(cells: Sequence[str]) -> np.ndarray:
    """Return the cells as numbers, NaN where one is missing, infinite or none, (N,) float64."""

    def parse(cell: str) -> float:
        value = float(cell) if _NUMBER.fullmatch(cell.strip()) else np.nan
        return value if abs(value) <= LARGEST else np.nan

    return np.array(_each(cells, parse), dtype=np.float64)


def parse_dates(cells: Sequence[str]) -> np.ndarray:
    """Return year, month, day, weekday (Monday is 0) and hour of ISO dates, NaN where a cell is none, (N, 5) float64.

    A time is taken as it is written, whatever its zone.
    """
    found = _each(cells, _date_parts)
    return np.array([parts or (np.nan,) * len(DATE_PARTS) for parts in found], dtype=np.float64).reshape(len(cells), -1)


def _is_number(cell: str) -> bool:
    return bool((_NUMBER.fullmatch(cell) and not _CODE.match(cell)) or _INFINITE.fullmatch(cell))


def _date_parts(cell: str) -> tuple[int, ...] | None:
    found = _DATE.fullmatch(cell.strip())
    if found is None:
        return None
    try:
        day = date(*map(int, found.groups()[:3]))
    except ValueError:  # such as 2023-02-30
        return None
    return day.year, day.month, day.day, day.weekday(), int(found.group(5) or 0)


def _each(cells: Sequence[str], parse: Callable[[str], Any]) -> list[Any]:
    """Return what each cell comes to; those that are alike are looked at once."""
    known = {cell: parse(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]
