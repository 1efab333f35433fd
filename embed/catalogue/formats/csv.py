"""CSV files as tables; a line whose cells are more or fewer than the header's is left out, counted and told."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path

from cache.system.stray_bytes import STRAY, shown
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.columns import check_distinct
from embed.catalogue.formats.csv_dialect import DELIMITERS, Dialect, delimiter_of_sep_line, find_dialect
from embed.catalogue.stray_cells import encoding_remedy
from embed.catalogue.table import BATCH_ROWS
from embed.catalogue.text_file import MAX_LINE, find_encoding, open_text, read_lines
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["CsvTable"]

PIECE_ROWS = 1024  # parsed at once
MAX_CELL = 2**24  # characters; what is longer is taken for a quote that nobody closed
TOO_LONG = f"has more than {MAX_CELL:,} characters in a cell, or too many in all"
_MARKUP = re.compile(r"<(!doctype|html|head|body|table)\b", re.IGNORECASE)
N_LOOKED_AT = 200  # lines, to guess the delimiter of a file that is no table with another


class CsvTable:
    """The rows of a CSV file as text, read in batches; memory holds no more than one.

    A line with more or fewer cells than the header is no product. An unbalanced quote makes one row of several lines.
    Where that row has another number of cells than the header, or text behind its closing quote, the first of these
    lines is bad, and the others are read again one by one.

    Raises:
        CatalogueError: there is no header, it repeats a name, or the file is no text in this encoding.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.encoding = find_encoding(path, settings.encoding)
        self.dialect = find_dialect(path, self.encoding, settings)
        self.is_error = settings.bad_lines == "error"
        self.bad_lines = BadLines(path)
        self._header_row: list[str] = []
        with open_text(path, self.encoding) as file:
            self.columns = self._header(_Lines(read_lines(file)))

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows in the file's order, each column a list of cells.

        Raises:
            CatalogueError: most lines are bad, or one is and `bad_lines` is ``error``.
        """
        self.bad_lines = BadLines(self.path, is_error=self.is_error)
        n_good = 0
        columns: list[list[str]] = [[] for _ in self.columns]
        with open_text(self.path, self.encoding) as file:
            lines = _Lines(read_lines(file))
            self._header(lines)
            for rows in self._pieces(lines):
                if len(columns[0]) + len(rows) > BATCH_ROWS:
                    yield dict(zip(self.columns, columns, strict=True))
                    columns = [[] for _ in self.columns]
                for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
                    column.extend(cells)
                n_good += len(rows)
            if columns[0]:
                yield dict(zip(self.columns, columns, strict=True))
        if self.bad_lines.count > n_good:
            self.bad_lines.check_most(n_good, hint=self._hint())

    def _pieces(self, lines: _Lines) -> Iterator[list[list[str]]]:
        """Yield a few rows at a time: lists that live long would keep Python's garbage collector busy."""
        rows = self._rows(lines)
        while True:
            with _long_cells():
                piece = self._plain_rows(lines) or list(islice(rows, PIECE_ROWS))
            if not piece:
                return
            yield piece

    def _plain_rows(self, lines: _Lines) -> list[list[str]]:
        """Return the rows of the next lines, where each line is one; else nothing, and the lines are put back."""
        lines.take(PIECE_ROWS)
        rows: list[list[str]] = []
        with suppress(csv.Error):
            rows = list(self.dialect.reader(lines.taken, strict=True))
        is_whole = max(map(len, lines.taken), default=0) < MAX_LINE
        is_plain = is_whole and len(rows) == len(lines.taken) and set(map(len, rows)) <= {len(self.columns)}
        if is_plain and self._header_row not in rows:
            return rows
        lines.put_back(0)
        return []

    def _rows(self, lines: _Lines) -> Iterator[list[str]]:
        """Yield the rows one by one; of a bad one the first line is counted, and the others are read again."""
        n_columns = len(self.columns)
        reader = self.dialect.reader(lines, strict=True)
        while True:
            lines.taken.clear()
            is_broken = False
            row: list[str] = []
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                is_broken = True
                reader = self.dialect.reader(lines, strict=True)
            is_cut = max(map(len, lines.taken), default=0) >= MAX_LINE
            if row == self._header_row and n_columns > 1:
                self.bad_lines.add(lines.number, "is the header again")
                continue
            if not is_broken and len(row) == n_columns and not is_cut:
                yield row
                continue
            is_open = True  # a quote, where the row's lines end
            if len(lines.taken) == 1:
                if not lines.taken[0].strip():
                    continue  # an empty line
                # Text behind a closing quote is sloppy, and harms nothing while the row stays on its line.
                with suppress(csv.Error):
                    row, *following = self.dialect.reader([lines.taken[0], "end"])
                    is_open = not following
                if len(row) == n_columns and not is_open and not is_cut:
                    yield [cell.rstrip(" ") for cell in row]  # blanks there are no part of a cell
                    continue
            reason = self._reason(lines.taken[0], n_cells=len(row), is_open=is_open)
            self.bad_lines.add(lines.number - len(lines.taken) + 1, reason)
            lines.put_back(1)

    def _reason(self, line: str, *, n_cells: int, is_open: bool) -> str:
        """Return why a line is bad, whose row has so many cells, or is open where its lines end."""
        reason = f"has {n_cells} cell{'s' if n_cells != 1 else ''} and the header {len(self.columns)}"
        if len(line) > MAX_CELL:
            reason = TOO_LONG
        elif is_open:
            reason = "opens a quote that its row does not close"
        if self.dialect.escape is None and '\\"' in line:
            reason += " (if \\\" is a quote in a cell, --escape '\\' reads it so)"
        return reason

    def _header(self, lines: _Lines) -> list[str]:
        """Return the names of the columns, and leave the lines where the first row begins.

        Raises:
            CatalogueError: there are none, two are the same, or they are no text.
        """
        line = next((line for line in lines if line.strip()), "")
        if not delimiter_of_sep_line(line):
            lines.put_back(len(lines.taken) - 1 if line else len(lines.taken))
        for _ in range(self.dialect.n_titles):
            next((line for line in lines if line.strip()), "")
        try:
            header: list[str] = next((row for row in self.dialect.reader(lines) if any(map(str.strip, row))), [])
        except csv.Error as error:
            raise CatalogueError(f"Expected the catalogue to be a table, but {self.path} is not: {error}.") from error
        self._header_row = header
        header = [*header, *([""] if header and self.dialect.has_tail else [])]
        names = [name.strip() or f"Unnamed: {n}" for n, name in enumerate(header)]
        self._check_names(names)
        return names

    def _check_names(self, names: list[str]) -> None:
        """Check that a header's cells are names of columns.

        Raises:
            CatalogueError: there are none, two are the same, or they are no text.
        """
        if not names:
            raise CatalogueError(f"Expected the catalogue to have a header and rows, but {self.path} is empty.")
        if _MARKUP.match(names[0]):
            raise CatalogueError(
                f"Expected the catalogue to be a table, but {self.path} is HTML, whatever its name says. Open "
                "it in a spreadsheet, and save it as .xlsx or CSV."
            )
        if any("\0" in name for name in names):
            raise CatalogueError(
                f"Expected the catalogue to be text in {self.encoding}, but the header of {self.path} holds NUL "
                "characters, as UTF-16 without its mark does. Name its --encoding, such as utf-16-le."
            )
        if stray := [name for name in names if STRAY.search(name)]:
            raise CatalogueError(
                f"Expected the catalogue to be text in {self.encoding}, but the header of {self.path} is not: "
                f"'{shown(stray[0])}'. {encoding_remedy(stray)}"
            )
        check_distinct(names, f"the header of {self.path}")

    def _hint(self) -> str:
        """Return what to do about a file that is no table with this delimiter."""
        with open_text(self.path, self.encoding) as file:
            lines = [line for line in islice(read_lines(file), N_LOOKED_AT) if line.strip() and len(line) <= MAX_CELL]
        for delimiter, name in DELIMITERS.items():
            counts = _counts(lines, Dialect(delimiter))
            if delimiter != self.dialect.delimiter and counts[0] > 1 and 2 * counts.count(counts[0]) > len(counts):
                shown_delimiter = "tab" if delimiter == "\t" else f"'{delimiter}'"
                return f"Its cells look separated by {name}: try --delimiter {shown_delimiter}."
        likely = Counter(_counts(lines, self.dialect)[1:]).most_common(1)
        if likely and likely[0][0] != len(self.columns):
            return (
                f"Most have {likely[0][0]} cells where the header has {len(self.columns)}: give each cell a name in "
                "the header, or name what separates them with --delimiter."
            )
        return "Name what separates the cells with --delimiter."


def _counts(lines: list[str], dialect: Dialect) -> list[int]:
    """Return how many cells each line has by itself."""
    with _long_cells():
        return [len(next(dialect.reader([line]), [])) for line in lines]


class _Lines:
    """The lines of a file, of which those that the current row took can be put back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = iter(lines)
        self.waiting: deque[str] = deque()  # that were put back
        self.taken: list[str] = []
        self.number = 0  # of the last one taken, from 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.waiting.popleft() if self.waiting else next(self.lines)
        self.taken.append(line)
        self.number += 1
        return line

    def take(self, n_lines: int) -> None:
        """Take the next lines, fewer where they are long."""
        self.taken = []
        n_characters = 0
        for line in islice(chain(self.waiting, self.lines), n_lines):
            self.taken.append(line)
            n_characters += len(line)
            if n_characters >= MAX_LINE:
                break
        for _ in range(min(len(self.taken), len(self.waiting))):
            self.waiting.popleft()
        self.number += len(self.taken)

    def put_back(self, n_kept: int) -> None:
        """Put all lines back that were taken but the first so many."""
        self.waiting.extendleft(reversed(self.taken[n_kept:]))
        self.number -= len(self.taken) - n_kept


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let csv read cells as long as descriptions may be; its own limit is 131,072 characters, for the whole process."""
    former_limit = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(former_limit)
