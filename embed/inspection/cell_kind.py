"""What a column's cells seem to be: they are all text, so it is a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["KINDS", "MISSING_WORDS", "guess_kind"]

KINDS = ("text", "categorical", "number", "boolean", "date", "id", "empty")

# Cells that often stand for "no value". They are kept as text everywhere, so they are counted and shown, no more.
MISSING_WORDS = frozenset(
    written
    for word in ("nan", "na", "n/a", "null", "none", "#n/a", "<na>", "nil", "-", "--", "?")
    for written in (word, word.upper(), word.capitalize(), "NaN" if word == "nan" else word)
)

LEAST_ROWS = 20  # below, that all values differ says little
LONGEST_CATEGORY = 40.0  # letters of a value, on average

_TRUTHS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"0", "1"})
# As a person or a program writes them; 00123 is a code.
_NUMBER = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?%?"
)
_CODE = re.compile(r"[^\s,;|]+")
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2}|[AP]M)?)?"
_DATE = re.compile(
    r"(?:(?:1[5-9]|20|21)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:\d\d)?\d\d"
    rf"|(?:0?[1-9]|[12]\d|3[01])[- ](?:{_MONTHS})[a-z]*\.?[- ](?:\d\d)?\d\d"
    rf"|(?:{_MONTHS})[a-z]*\.? (?:0?[1-9]|[12]\d|3[01]),? \d{{4}}){_TIME}",
    flags=re.IGNORECASE,
)


def guess_kind(counts: Mapping[str, int]) -> str:
    """Return one of `KINDS`, judged by how many rows each distinct cell has; words for "no value" do not count.

    A column is a number or a date when all of its cells are, categorical when a value has two rows on average and is
    short, or has `LEAST_ROWS`, and an id when nearly every row has a value of its own, without blanks.

    >>> guess_kind({"3.5": 1, "12": 2, "NaN": 1})
    'number'
    >>> guess_kind({"red": 5, "blue": 3, "": 2})
    'categorical'
    """
    present = {cell.strip(): n for cell, n in counts.items() if cell.strip() and cell.strip() not in MISSING_WORDS}
    if not present:
        return "empty"
    n_rows = sum(present.values())
    if {cell.casefold() for cell in present} in _TRUTHS:
        return "boolean"
    are_own = n_rows >= LEAST_ROWS and len(present) >= 0.99 * n_rows
    if all(_NUMBER.fullmatch(cell) for cell in present):
        return "id" if are_own and all(cell.isdecimal() for cell in present) else "number"
    if all(_DATE.fullmatch(cell) for cell in present):
        return "date"
    mean_length = sum(len(cell) * n for cell, n in present.items()) / n_rows
    if 2 * len(present) <= n_rows and (mean_length <= LONGEST_CATEGORY or LEAST_ROWS * len(present) <= n_rows):
        return "categorical"
    if are_own and all(_CODE.fullmatch(cell) for cell in present):
        return "id"
    return "text"
