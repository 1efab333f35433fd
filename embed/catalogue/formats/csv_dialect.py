"""How a CSV file separates its cells and writes quotes in them."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from cache.columns.column_names import usual_columns
from embed.amounts import plural
from embed.catalogue.formats.title_rows import N_LOOKED_AT, n_title_rows
from embed.catalogue.pictures.picture_lists import is_picture_name
from embed.catalogue.text_file import open_text, read_lines
from embed.settings import ExtractSettings

__all__ = ["DELIMITERS", "Dialect", "delimiter_of_sep_line", "find_dialect"]

BLANK = " "
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
N_LINES = 200  # that are looked at
BACKSLASH = "\\"
UNQUOTED = ("\t", "|")  # what separates cells that stand without quotes, mostly
MOST_LINES = 20_000  # that are looked at for quotes
MOST_SHOWN = 60  # letters of a title

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class Dialect:
    """What stands between cells, and before a quote that does not end its cell, where that is no second quote.

    Where it `skips_blanks` those before a cell are none of it; with `has_tail` each row but the header has one more
    cell, an empty one; with `plain_quotes` these are signs as others are. Where it `merges_blanks` several are one.
    """

    delimiter: str
    escape: str | None = None
    n_titles: int = 0  # lines with something in them that stand above the header
    skips_blanks: bool = False
    has_tail: bool = False
    plain_quotes: bool = False
    merges_blanks: bool = False

    def reader(self, lines: Iterable[str], *, strict: bool = False) -> Any:
        """Return Python's reader of some lines."""
        return csv.reader(
            map(_with_single_blanks, lines) if self.merges_blanks else lines,
            delimiter=self.delimiter,
            escapechar=self.escape,
            skipinitialspace=self.skips_blanks,
            quoting=csv.QUOTE_NONE if self.plain_quotes else csv.QUOTE_MINIMAL,
            strict=strict,
        )


def find_dialect(path: Path, encoding: str, settings: ExtractSettings) -> Dialect:
    r"""Return the dialect that options name, that a line ``sep=;`` names, or on which the first lines agree.

    Lines agree where they have as many cells as the header: a comma within a cell of the header separates none. Quotes
    are taken to be escaped by backslashes where each backslash stands before a quote or another one, and all lines
    agree only so. What was guessed is told.
    """
    with open_text(path, encoding) as file:
        lines = [line for line in islice(read_lines(file), N_LINES) if line.strip()]
    sep_delimiter = delimiter_of_sep_line(lines[0]) if lines else None
    lines = lines[1:] if sep_delimiter else lines
    delimiter = settings.csv_delimiter or sep_delimiter
    plain = Dialect(delimiter) if delimiter else _likely_dialect(path, lines)
    n_titles = _n_titles(plain, lines)
    if n_titles:
        log.info(
            "What stands above the header of %s is left out, %s: %s.",
            path, plural(n_titles, "line"), ", ".join(line.strip()[:MOST_SHOWN] for line in lines[:n_titles]),
        )  # fmt: skip
    lines = lines[n_titles:]
    plain = replace(plain, n_titles=n_titles)
    if settings.escape is not None:
        return _with_habits(replace(plain, escape=None if settings.escape == "none" else settings.escape), lines)
    dialect = _with_habits(plain, lines)
    text = "".join(lines)
    if BACKSLASH + '"' in text and not re.search(r'\\[^"\\]', re.sub(r"\\\\", "", text)):
        escaped = _with_habits(replace(plain, escape=BACKSLASH), lines)
        if _agreement(dialect, lines) < 1 == _agreement(escaped, lines):
            log.info('Quotes in cells of %s are written \\": they are read so (--escape none does not).', path)
            return escaped
    if plain.delimiter in UNQUOTED and _has_plain_quotes(path, encoding, plain.delimiter):
        log.info("Quotes in %s enclose no cells: they are read as they stand (--escape none does not).", path)
        return _with_habits(replace(plain, plain_quotes=True), lines)
    return dialect


def _has_plain_quotes(path: Path, encoding: str, delimiter: str) -> bool:
    """Return whether quotes begin cells in many lines and mostly end none, while all lines have as many delimiters.

    Blanks may stand around a cell that they enclose, and in it a delimiter, or quotes that are doubled or escaped.
    """
    between = re.escape(delimiter)
    begun = re.compile(rf'(?:^|{between}) *"((?:[^"]|""|\\")*" *(?={between}|[\r\n]*$))?')
    n_closed = n_open = 0  # quotes that begin a cell, and do or do not end it
    counts = set()
    with open_text(path, encoding) as file:
        for line in islice(read_lines(file), MOST_LINES):
            if not line.strip():
                continue
            counts.add(line.count(delimiter))
            if len(counts) > 1:
                return False
            if '"' in line:
                ends = begun.findall(line)
                n_closed += len(ends) - ends.count("")
                n_open += ends.count("")
    return n_open > n_closed


def _with_habits(dialect: Dialect, lines: list[str]) -> Dialect:
    """Return a dialect with what the first lines do: blanks before quotes, and delimiters behind the last cells."""
    if dialect.merges_blanks:
        return dialect
    skipping = replace(dialect, skips_blanks=True)
    quoted = re.compile(rf'(^|{re.escape(dialect.delimiter)}) +"', re.MULTILINE)
    if any(map(quoted.search, lines)) and _agreement(skipping, lines) >= _agreement(dialect, lines):
        dialect = skipping
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows = [row for row in dialect.reader(lines) if row]
    header, *products = rows or [[]]
    products = products[:-1] if len(lines) >= N_LINES - 1 else products  # the last may be cut
    has_tail = bool(products) and all(len(row) == len(header) + 1 and not row[-1].strip() for row in products)
    return replace(dialect, has_tail=has_tail)


def delimiter_of_sep_line(line: str) -> str | None:
    r"""Return what a first line as Excel understands it names as delimiter; None where it is no such line.

    >>> delimiter_of_sep_line("sep=;\r\n")
    ';'
    """
    match = re.fullmatch(r'"?sep=([^"\r\n])"?\s*', line, re.IGNORECASE)
    return None if match is None else match[1]


def _likely_dialect(path: Path, lines: list[str]) -> Dialect:
    """Return tabs in .tsv files, else what gives most cells to lines that agree, else commas."""
    if {".tsv", ".tab"} & {suffix.lower() for suffix in path.suffixes}:
        return Dialect("\t")
    scores = {}
    for delimiter in DELIMITERS:
        dialect = Dialect(delimiter)
        scores[delimiter] = _score(dialect, lines)
        if n_titles := _n_titles(dialect, lines):
            scores[delimiter] = max(scores[delimiter], _score(dialect, lines[n_titles:]))
    merged = Dialect(BLANK, merges_blanks=True)
    if not any(scores.values()) and _is_list_of_pictures(merged, lines):
        log.info("The cells of %s are separated by blanks.", path)
        return merged
    if not any(scores.values()):
        scores |= {delimiter: 1.0 for delimiter in DELIMITERS if lines and delimiter in lines[0]}
    likely = max(scores, key=scores.__getitem__)  # the first of equals
    if likely != ",":
        log.info("The cells of %s are separated by %s.", path, DELIMITERS[likely])
    return Dialect(likely)


def _score(dialect: Dialect, lines: list[str]) -> float:
    """Return the header's cells times how well lines agree, squared; 0 where the header is one cell."""
    n_cells = next(_counts(dialect, lines), 0)
    return _agreement(dialect, lines) ** 2 * n_cells if n_cells > 1 else 0.0


def _is_list_of_pictures(dialect: Dialect, lines: list[str]) -> bool:
    """Return whether blanks, one or many, part each line alike, and one of the columns names pictures.

    A line that ends as a picture's name may be one as a whole ("my mug.jpg"), unless all before it are numbers.
    """
    lines = lines[_n_titles(dialect, lines) :]
    if not lines or usual_columns("image", [lines[0].strip()]):  # one column, "file name"
        return False
    header, *rows = (line.split() for line in lines)
    rows = rows[:-1] if len(lines) >= N_LINES - 1 else rows
    if not rows or len(header) < 2 or any(len(row) != len(header) for row in rows):
        return False
    name_pictures = [all(map(is_picture_name, cells)) for cells in zip(*rows, strict=True)]  # of each column
    are_numbers = all(cell.isdecimal() for row in rows for cell in row[:-1])
    return any(name_pictures[:-1]) or (name_pictures[-1] and are_numbers)


def _with_single_blanks(line: str) -> str:
    return BLANK.join(line.split())


def _n_titles(dialect: Dialect, lines: list[str]) -> int:
    """Return how many lines stand above the header, if cells are separated so; titles are one line each."""
    rows = []
    with suppress(csv.Error):
        rows = list(islice(dialect.reader(lines), N_LOOKED_AT))
    n_titles = n_title_rows(rows)
    return 0 if any(line.count('"') % 2 for line in lines[:n_titles]) else n_titles


def _agreement(dialect: Dialect, lines: list[str]) -> float:
    """Return the share of rows that have as many cells as the header; the last may be cut."""
    header, *counts = list(_counts(dialect, lines)) or [0]
    counts = counts[:-1] if len(counts) > 1 and len(lines) >= N_LINES - 1 else counts
    return counts.count(header) / len(counts) if counts else 1.0


def _counts(dialect: Dialect, lines: list[str]) -> Iterator[int]:
    """Yield how many cells each row has, and 0 for one with text, more than blanks, behind a closing quote."""
    behind = re.compile(rf'" +(?! )(?={re.escape(dialect.delimiter)}|\s*$)')
    remaining = (line if dialect.delimiter == BLANK else behind.sub('"', line) for line in lines)
    reader = dialect.reader(remaining, strict=True)
    while True:
        try:
            yield len(next(reader))
        except StopIteration:
            return
        except csv.Error:
            yield 0
            reader = dialect.reader(remaining, strict=True)
