"""What a column of cells holds: categories, numbers, yes or no, dates; and its cells as such.

All cells are text, so a kind is a guess. `embed-inspect` shows it, and it decides how metadata is encoded.

- **A number** is written as Python writes it, or with commas, blanks or ``'`` between thousands (``1,299.00``), or with
  a decimal comma where that is plain (``390,60``, ``1.299,00``; ``1,299`` is a thousand, and a column that has both
  marks for decimals holds no numbers; neither does one of lists such as ``38,39``, see below), or as a share: ``20%``
  is 20, or as a price of the column's one currency (``$5``, ``5 EUR``). Digits that begin with a zero are a code, not
  a number; neither is anything with another unit.
- **A list of sizes**, ``38,39``, looks like a number with a decimal comma. A column holds lists where what is behind
  each comma is the next size, one or two more than what is before it, both of two digits (``38,39``, ``38,40``).
  Whatever is in doubt is a number. A cell of two commas (``38,39,40``) is no number anyway.
- **A date** has a year of four digits: ``2024-02-29``, ``2024/2/29``, ``3 May 2021``, ``May 3, 2021``, ``31/12/2020``,
  ``12.31.2020``, and may be followed by a time. The day comes first, or the month, whichever makes a date of each
  of the column's cells. If both do, and the dates differ, the column does not hold dates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np

__all__ = [
    "DATE_ORDERS",
    "DATE_PARTS",
    "LONGEST_MISSING_WORD",
    "date_order",
    "guess_kind",
    "is_missing",
    "parse_booleans",
    "parse_categories",
    "parse_dates",
    "parse_numbers",
    "parse_plain_numbers",
]

# Missing cells in a column of numbers, dates or booleans; ordinary text in a column of categories.
MISSING_WORDS = {"nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "nil", "none", "-", "--", "?"}
LONGEST_MISSING_WORD = max(map(len, MISSING_WORDS))
BOOLEANS = {
    "true": "true", "yes": "true", "y": "true", "t": "true", "1": "true", "1.0": "true",
    "false": "false", "no": "false", "n": "false", "f": "false", "0": "false", "0.0": "false",
}  # fmt: skip
DATE_PARTS = ("year", "month", "day", "weekday", "hour")
DATE_ORDERS = ("", "day", "month")  # what comes first where the year is last; empty: no cell is written so
LARGEST = 1e30  # a number beyond it is no measurement, and its square overflows
_CURRENCIES = (
    r"US\$|R\$|[$€£¥₹₽₩₺₫₱฿]|Rs\.?|kr\.?|zł|Kč|"
    "USD|EUR|GBP|JPY|CNY|RMB|INR|CHF|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|BRL|MXN|KRW|SGD|HKD|ZAR|AED"
)
_BLANK = r"[\s'’]"  # between thousands
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)((?P<before>{_CURRENCIES})\s?(?P<inner_sign>[+-]?))?"
    rf"((?P<comma>(?:0|[1-9][0-9]{{0,2}}(?:[.\s'’][0-9]{{3}})+|[0-9]{{4,}}),[0-9]+|[0-9]+,(?:[0-9]{{1,2}}|[0-9]{{4,}}))"
    rf"|(?P<point>(?:[0-9]+|[1-9][0-9]{{0,2}}(?:(?:,[0-9]{{3}})+|(?:{_BLANK}[0-9]{{3}})+)"
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3})(?:\.[0-9]*)?|\.[0-9]+)"
    rf"(?P<exponent>e[+-]?[0-9]+)?)(\s?((?P<share>%)|(?P<after>{_CURRENCIES})))?",
    re.IGNORECASE,
)
_PLAIN_NUMBER = re.compile(  # reads any text in linear time
    r"[+-]?([0-9]+(?:\.[0-9]*)?|[1-9][0-9]{0,2}(?:,[0-9]{3})+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?(\s?%)?", re.IGNORECASE
)
LONGEST_NUMBER = 64  # letters; what is longer is none, and is not looked at
_CURRENCY_CODES = {
    "€": "eur",
    "$": "usd",
    "us$": "usd",
    "£": "gbp",
    "₹": "inr",
    "rs": "inr",
    "r$": "brl",
    "zł": "pln",
    "kč": "czk",
}
_SIZE_PAIR = re.compile(r"([1-9][0-9]),([1-9][0-9])")
MOST_SIZE_STEP = 2  # from one size of a list to the next
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_ZERO_CODE = re.compile(r"0[0-9]")  # 00123 is a code, not a number
_TIME = r"([T ](?P<hour>[01]?[0-9]|2[0-3]):[0-5][0-9](:[0-9.]+)?\s?(Z|[+-][0-9:]+|(?P<half>[AP])M)?)?"  # in any zone
_DATE_FORMS = [
    re.compile(form + _TIME, re.IGNORECASE)
    for form in (
        r"(?P<year>[0-9]{4})([-/.])(?P<month>[0-9]{1,2})\2(?P<day>[0-9]{1,2})",
        r"(?P<first>[0-9]{1,2})([-/.])(?P<second>[0-9]{1,2})\2(?P<year>[0-9]{4})",
        r"(?P<day>[0-9]{1,2})[- ](?P<name>[a-z]+)\.?[- ](?P<year>[0-9]{4})",
        r"(?P<name>[a-z]+)\.? (?P<day>[0-9]{1,2}),? (?P<year>[0-9]{4})",
    )
]
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTH_NUMBERS = {name[:n]: month for month, name in enumerate(_MONTHS, start=1) for n in (3, len(name))} | {"sept": 9}


def guess_kind(cells: Iterable[str]) -> str | None:
    """Return ``boolean``, ``number``, ``date`` or ``categorical``; None if all cells are missing.

    All cells that are not missing must be of the kind: one with stray text makes its column categorical.

    >>> guess_kind(["yes", "NO", ""]), guess_kind(["1,200", "1.5e3", "20%"]), guess_kind(["12 cm", "3"])
    ('boolean', 'number', 'categorical')
    >>> guess_kind(["$5", "$1,200"]), guess_kind(["390,60 €", "1.299,00 €"]), guess_kind(["$5", "5 €"])
    ('number', 'number', 'categorical')
    >>> guess_kind(["38,39", "40,42", "41"]), guess_kind(["38,39", "40,12"]), guess_kind(["38,39", "40,41,42"])
    ('categorical', 'number', 'categorical')
    >>> guess_kind(["007"]), guess_kind(["31/12/2020", "-"]), guess_kind(["01/02/2020"])
    ('categorical', 'date', 'categorical')
    """
    filled = _filled(cells)
    if not filled:
        return None
    if all(cell.casefold() in BOOLEANS for cell in filled):
        return "boolean"
    if _are_numbers(filled) and np.isfinite(parse_numbers(filled)).any():
        return "number"
    return "categorical" if date_order(filled) is None else "date"


def is_missing(cell: str, kind: str) -> bool:
    """Return whether a cell is missing: it is empty, or ``NA`` and the like where others are numbers, dates, yes or no.

    >>> is_missing("NA", "number"), is_missing("NA", "categorical"), is_missing(" ", "categorical")
    (True, False, True)
    """
    word = cell.strip()
    return not word or (kind not in ("categorical", "hashed", "counts") and word.casefold() in MISSING_WORDS)


def parse_categories(cells: Sequence[str]) -> list[str]:
    """Return the cells with runs of spaces as one blank; an empty cell is a category like any other."""
    # Their form of Unicode stays as it is: saved heads name categories.
    return _parse_each(cells, lambda cell: " ".join(cell.split()))


def parse_booleans(cells: Sequence[str]) -> list[str]:
    """Return ``true``, ``false`` or an empty cell each; any other word stays as it is."""
    words = _parse_each(cells, lambda cell: cell.strip().casefold())
    return ["" if word in MISSING_WORDS else BOOLEANS.get(word, word) for word in words]


def parse_numbers(cells: Sequence[str]) -> np.ndarray:
    """Return the cells as numbers, NaN where one is missing, infinite or no number, (N,) float64.

    A share is the number before its percent sign, a price the one beside its currency.

    >>> parse_numbers(["1,299.00", "20%", "5 cm", "390,60 €"])
    array([1299. ,   20. ,    nan,  390.6])
    """

    def parse(cell: str) -> float:
        match = _match_number(cell.strip())
        if match is None:
            return np.nan
        if match["comma"]:  # for decimals
            digits = re.sub(rf"\.|{_BLANK}", "", match["comma"]).replace(",", ".")
        else:
            digits = re.sub(rf",|{_BLANK}", "", match["point"])
        value = float(digits + (match["exponent"] or ""))
        if value > LARGEST:
            return np.nan
        return -value if "-" in match["sign"] + (match["inner_sign"] or "") else value

    return np.array(_parse_each(cells, parse), dtype=np.float64)


def parse_plain_numbers(cells: Sequence[str]) -> np.ndarray:
    """Return the cells as numbers as `parse_numbers` once did: NaN for prices and decimal commas, (N,) float64.

    Heads that were trained then still read cells so.

    >>> parse_plain_numbers(["1,299.00", "20%", "$5", "390,60"])
    array([1299.,   20.,   nan,   nan])
    """

    def parse(cell: str) -> float:
        word = cell.strip()
        value = float(word.rstrip("% ").replace(",", "")) if _PLAIN_NUMBER.fullmatch(word) else np.nan
        return value if abs(value) <= LARGEST else np.nan

    return np.array(_parse_each(cells, parse), dtype=np.float64)


def date_order(cells: Iterable[str]) -> str | None:
    """Return which of `DATE_ORDERS` makes a date of each cell that is not missing; None if none does or it is unclear.

    >>> date_order(["2020-12-31"]), date_order(["31/12/2020", "1/2/2020"]), date_order(["1/31/2020"])
    ('', 'day', 'month')
    """
    filled = _filled(cells)
    orders = [order for order in DATE_ORDERS if all(_date_parts(cell, order) for cell in filled)]
    if orders == ["day", "month"] and any(_date_parts(cell, "day") != _date_parts(cell, "month") for cell in filled):
        return None
    return orders[0] if orders else None


def parse_dates(cells: Sequence[str], order: str = "") -> np.ndarray:
    """Return year, month, day, weekday (Monday is 0) and hour of dates, NaN where a cell is none, (N, 5) float64.

    A time is taken as it is written, whatever its zone. `order` is the column's (`date_order`).
    """
    dates = _parse_each(cells, lambda cell: _date_parts(cell.strip(), order))
    return np.array([parts or (np.nan,) * len(DATE_PARTS) for parts in dates], dtype=np.float64).reshape(len(cells), -1)


def _filled(cells: Iterable[str]) -> list[str]:
    return [cell.strip() for cell in set(cells) if not is_missing(cell, "number")]


def _are_numbers(cells: Iterable[str]) -> bool:
    """Return whether all cells are numbers, of one currency at most and with one mark for decimals, and no lists."""
    currencies, cells_with_decimal_comma, has_decimal_point = set(), [], False
    for cell in cells:
        if _INFINITE.fullmatch(cell):
            continue
        match = _match_number(cell)
        if match is None or _ZERO_CODE.match(match["comma"] or match["point"]):
            return False
        currency = (match["before"] or match["after"] or "").casefold().rstrip(".")
        currencies.add(_CURRENCY_CODES.get(currency, currency))
        if match["comma"] is not None:
            cells_with_decimal_comma.append(cell)
        elif "," in match["point"] or "." in match["point"]:
            has_decimal_point = True
    if len(currencies - {""}) > 1:
        return False
    return not cells_with_decimal_comma or not (has_decimal_point or _are_lists(cells_with_decimal_comma))


def _are_lists(cells: Iterable[str]) -> bool:
    """Return whether cells with a comma are lists of two sizes, rather than numbers with a decimal comma.

    >>> _are_lists(["38,39", "40,41"]), _are_lists(["12,99", "24,99"]), _are_lists(["4,5", "3,4"])
    (True, False, False)
    """
    second_sizes = set()
    for cell in cells:
        pair = _SIZE_PAIR.fullmatch(cell)
        if pair is None or not 0 < int(pair[2]) - int(pair[1]) <= MOST_SIZE_STEP:
            return False
        second_sizes.add(pair[2])
    return len(second_sizes) > 1


def _match_number(cell: str) -> re.Match[str] | None:
    """Return the match of a number, which may have a currency before it, or a currency or a percent sign behind it."""
    match = _NUMBER.fullmatch(cell) if len(cell) <= LONGEST_NUMBER else None
    return None if match and match["before"] and (match["after"] or match["share"]) else match


def _date_parts(cell: str, order: str) -> tuple[int, ...] | None:
    """Return the `DATE_PARTS` of a date; None where the cell is none, or needs an `order` where that is ""."""
    fields = next((match.groupdict() for form in _DATE_FORMS if (match := form.fullmatch(cell))), None)
    if fields is None or ("first" in fields and not order):
        return None
    if "first" in fields:
        first, second = fields["first"], fields["second"]
        fields["day"], fields["month"] = (first, second) if order == "day" else (second, first)
    month = _MONTH_NUMBERS.get(fields["name"].casefold(), 0) if "name" in fields else int(fields["month"])
    hour = int(fields["hour"] or 0)
    if half := fields["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half.casefold() == "p")
    try:
        day = date(int(fields["year"]), month, int(fields["day"]))
    except ValueError:  # such as 2023-02-30
        return None
    return day.year, day.month, day.day, day.weekday(), hour


def _parse_each(cells: Sequence[str], parse: Callable[[str], Any]) -> list[Any]:
    """Return the parsed cells; equal cells are parsed once."""
    parsed = {cell: parse(cell) for cell in set(cells)}
    return [parsed[cell] for cell in cells]
