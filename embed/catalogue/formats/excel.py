"""Excel's workbooks as tables: the rows of the first sheet that has some, as one would write them."""

from __future__ import annotations

import datetime
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from cache.system.reading import raise_if_refused
from embed.amounts import plural
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.columns import check_distinct
from embed.catalogue.formats.title_rows import N_LOOKED_AT, n_title_rows
from embed.catalogue.table import BATCH_ROWS
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["ExcelTable", "refuse_old"]

log = logging.getLogger("embed_once")


class ExcelTable:
    """The rows of a workbook's first sheet with rows; its first is the header, and formulas are their results.

    Titles above the header are left out and told (`embed.catalogue.formats.title_rows`).

    Numbers are written without needless zeros, dates as ``2020-12-31``, truth values as ``true`` and ``false``. A row
    with cells beyond the header's is bad, and empty rows are passed over.

    Raises:
        CatalogueError: it is no whole workbook, has no header, or the header repeats a name.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.is_error = settings.bad_lines == "error"
        self.bad_lines = BadLines(path, unit="row")
        with self._rows() as (sheet, rows):
            first_rows = [cells for _, cells in islice(rows, N_LOOKED_AT)]
            self.n_titles = n_title_rows(first_rows)
            header = first_rows[self.n_titles] if first_rows else []
            if self.n_titles:
                titles = ", ".join(" ".join(filter(str.strip, cells)) for cells in first_rows[: self.n_titles])
                log.info(
                    "What stands above the header of %s is left out, %s: %s.",
                    path, plural(self.n_titles, "row"), titles,
                )  # fmt: skip
            other_sheets = [name for name in sheet.parent.sheetnames if name != sheet.title]
            if other_sheets:
                which = "first sheet is" if sheet.title == sheet.parent.sheetnames[0] else "first sheet with rows is"
                log.info("Of %s the %s read, %s; it has %s, too.", path, which, sheet.title, ", ".join(other_sheets))
        if not header:
            raise CatalogueError(f"Expected {path} to have a header and rows, but its first sheet is empty.")
        self.columns = [name.strip() or f"Unnamed: {n}" for n, name in enumerate(header)]
        check_distinct(self.columns, f"the header of {path}")

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows in the sheet's order, each column a list of cells.

        Raises:
            CatalogueError: the workbook is damaged, most rows are bad, or one is and `bad_lines` is ``error``.
        """
        self.bad_lines = BadLines(self.path, is_error=self.is_error, unit="row")
        n_good = 0
        with self._rows() as (_, rows):
            for _ in islice(rows, self.n_titles + 1):  # titles and header
                pass
            while block := list(islice(self._good(rows), BATCH_ROWS)):
                n_good += len(block)
                yield dict(zip(self.columns, map(list, zip(*block, strict=True)), strict=True))
        self.bad_lines.check_most(n_good, hint="Give each cell a name in the header.")

    def _good(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[list[str]]:
        """Yield the rows of at most as many cells as the header, filled up to these, and count the others."""
        n_columns = len(self.columns)
        for number, cells in rows:
            if len(cells) > n_columns:
                self.bad_lines.add(number, f"has {len(cells)} cells and the header {n_columns}")
            else:
                yield cells + [""] * (n_columns - len(cells))

    @contextmanager
    def _rows(self) -> Iterator[tuple[Any, Iterator[tuple[int, list[str]]]]]:
        """Open the workbook; yield its sheet, and the numbers and cells of the rows that are not empty."""
        import openpyxl

        try:
            with self.path.open("rb") as file:  # openpyxl refuses names of other suffixes
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of styles and extensions, that make no cells
                    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
                sheet = _first_with_rows(book)
                yield sheet, _filled_rows(sheet)
                book.close()
        except CatalogueError:
            raise
        except Exception as error:
            raise_if_refused(error, self.path)
            raise CatalogueError(
                f"Expected {self.path} to be an Excel workbook, but it is not, or not whole: {error}. Save it again, "
                "or as CSV."
            ) from error


def refuse_old(path: Path, settings: ExtractSettings) -> NoReturn:  # noqa: ARG001 - called as tables are
    """Refuse a file of Excel's format before 2007, or one with a password.

    Raises:
        CatalogueError: always.
    """
    raise CatalogueError(
        f"Expected a table that can be read, but {path} is of Excel's old format (.xls), or has a password. Save it as "
        ".xlsx without one, or as CSV."
    )


def _first_with_rows(book: Any) -> Any:
    """Return the first sheet of more than one cell, so a header without rows, too; the first of all where none is."""
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # which some programs write wrong
        if sum(len(cells) for _, cells in islice(_filled_rows(sheet), 2)) > 1:
            return sheet
    return book.worksheets[0]


def _filled_rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the numbers, from 1, and cells of rows with something in them, without empty cells at their end."""
    for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
        cells = [_cell(value) for value in values]
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            yield number, cells


def _cell(value: Any) -> str:
    """Return a value as one would write it.

    >>> [_cell(value) for value in (7.0, 0.5, True, None, "007")]
    ['7', '0.5', 'true', '', '007']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
