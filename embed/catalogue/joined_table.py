"""A table with the columns of a second one, joined by id."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cache.columns.column_names import usual_column, usual_columns
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.columns import ColumnFinder
from embed.catalogue.long_table import is_long, spread
from embed.catalogue.pictures.picture_lists import is_name_or_url, list_pictures
from embed.catalogue.table import Table
from embed.contents.file_ranges import PlacedCell
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["JoinedTable"]

OF_PICTURES = {"alt", "alt_text", "height", "image_id", "position", "url", "width"}  # columns that tell of a picture

Batch = dict[str, list[str]]

log = logging.getLogger("embed_once")


class JoinedTable:
    """The rows of a table, and of a second one's columns the cells of its row with the same id, or empty ones.

    Ids stand in the column that is the table's in both, or has a usual name in each; else in the first column of both
    whose cells in the second are all different. Of another column that both have, the cell that is not empty counts.

    A second table with a row for each attribute of a product is spread to a column each (`embed.catalogue.long_table`).
    Where the second table has several rows of an id that name a picture each, and differ in nothing but pictures and
    what tells of these, the pictures are a list.

    Memory: the second table.

    Raises:
        CatalogueError: there is no such column, or an id stands in the second table twice otherwise.
    """

    def __init__(self, table: Table, second: Table, path: Path, settings: ExtractSettings) -> None:
        self.table = table
        self.path = path  # of the second
        columns: Batch = {name: [] for name in second.columns}
        for batch in second.batches():
            for name, cells in columns.items():
                cells.extend(batch[name])
        second.bad_lines.tell()
        self.key, second_key = _find_keys(table, second, columns, path, settings)
        ids = columns.pop(second_key)
        if is_long(columns) and len(set(ids)) < len(ids):
            ids, columns = spread(ids, columns, path, settings)
        ids, self._cells = _with_lists(ids, columns, path, settings)
        _check_ids(ids, second_key, path)
        self._row_of = {product_id: row for row, product_id in enumerate(ids)}  # of the second table
        self.columns = [*table.columns, *(name for name in columns if name not in table.columns)]
        self._is_told = False

    @property
    def bad_lines(self) -> BadLines:
        """What was left out of the first table by the last `batches`."""
        return self.table.bad_lines

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in the first table's order, each column a list of cells.

        Raises:
            CatalogueError: no row has an id of the second table, or two cells of a row contradict each other.
        """
        n_rows = n_missing = 0
        matched: set[int] = set()  # rows of the second table
        for batch in self.table.batches():
            rows = [self._row_of.get(product_id) for product_id in batch[self.key]]
            n_rows += len(rows)
            n_missing += rows.count(None)
            matched.update(row for row in rows if row is not None)
            for name, cells in self._cells.items():
                joined = ["" if row is None else cells[row] for row in rows]
                batch[name] = self._filled_up(name, batch, joined) if name in batch else joined
            yield batch
        if n_rows and not matched:
            raise CatalogueError(
                f"--labels: expected {self.path} to have ids of the catalogue's {self.key}, but none of its "
                f"{len(self._row_of)} is one: {next(iter(self._row_of), '')!r}. Name their column with --id-column."
            )
        if not self._is_told:
            self._is_told = True
            log.info(
                "%s is joined by %s: %d of %d products have no row in it, and empty cells; %d of its %d ids are not in "
                "the catalogue.",
                self.path, self.key, n_missing, n_rows, len(self._row_of) - len(matched), len(self._row_of),
            )  # fmt: skip

    def _filled_up(self, name: str, batch: Batch, joined: list[str]) -> list[str]:
        """Return the cells of a column of both tables: the first table's, and where that is empty the second's.

        Raises:
            CatalogueError: two cells of a row contradict each other.
        """
        for product_id, cell, second_cell in zip(batch[self.key], batch[name], joined, strict=True):
            if cell and second_cell and cell != second_cell:
                raise CatalogueError(
                    f"--labels: expected {name} of {self.path} to be the catalogue's, but of {product_id!r} they are "
                    f"{second_cell!r} and {cell!r}. Rename or remove one of the columns."
                )
        return [cell or second_cell for cell, second_cell in zip(batch[name], joined, strict=True)]


def _find_keys(table: Table, second: Table, columns: Batch, path: Path, settings: ExtractSettings) -> tuple[str, str]:
    """Return the column of ids of the table, and that of the second one, whose cells are `columns`.

    Raises:
        CatalogueError: there is none.
    """
    key = ColumnFinder(table, settings).find("id")
    if key is not None:
        if key in columns:
            return key, key
        if (usual := ColumnFinder(second, ExtractSettings()).find("id")) is not None:
            return key, usual
    for name in table.columns:
        if name in columns and (is_long(columns.keys() - {name}) or len(set(columns[name])) == len(columns[name])):
            return name, name
    raise CatalogueError(
        f"--labels: expected {path} and the catalogue to have a column of ids, but their columns are "
        f"{', '.join(columns)} and {', '.join(table.columns)}. Give it one name in both, and name it with --id-column."
    )


def _with_lists(ids: list[str], columns: Batch, path: Path, settings: ExtractSettings) -> tuple[list[str], Batch]:
    """Return the ids and cells of the second table, with one row an id where its rows differ in pictures alone."""
    image = settings.image_column if settings.image_column in columns else usual_column("image", columns)
    rows_of: dict[str, list[int]] = {}
    for row, product_id in enumerate(ids):
        rows_of.setdefault(product_id, []).append(row)
    repeated = {product_id: rows for product_id, rows in rows_of.items() if len(rows) > 1}
    of_pictures = {*usual_columns("image", columns), *(name for name in columns if name.lower() in OF_PICTURES)}
    other_columns = [cells for name, cells in columns.items() if name not in of_pictures | {image}]
    if (
        image is None
        or not repeated
        or not all(map(str.strip, repeated))
        or not all(_are_pictures([columns[image][row] for row in rows]) for rows in repeated.values())
        or any(len({cells[row] for row in rows}) > 1 for cells in other_columns for rows in repeated.values())
    ):
        return ids, columns
    merged = {name: [cells[rows[0]] for rows in rows_of.values()] for name, cells in columns.items()}
    for position, rows in enumerate(rows_of.values()):
        if len(rows) > 1:
            merged[image][position] = list_pictures([columns[image][row] for row in rows])
    log.info(
        "%s has several rows of %d of its %d ids: their pictures in %s are one product's; of what else tells of these "
        "the first row's counts.",
        path, len(repeated), len(rows_of), image,
    )  # fmt: skip
    return list(rows_of), merged


def _are_pictures(cells: Sequence[str]) -> bool:
    """Return whether cells are distinct names of pictures, none of which is inside a file."""
    return len(set(cells)) == len(cells) and all(
        is_name_or_url(cell) and not isinstance(cell, PlacedCell) for cell in cells
    )


def _check_ids(ids: list[str], column: str, path: Path) -> None:
    """Check that the second table has each id once.

    Raises:
        CatalogueError: it has one more often.
    """
    if len(set(ids)) < len(ids):
        counts = Counter(ids)
        repeated = next(product_id for product_id in ids if counts[product_id] > 1)
        raise CatalogueError(
            f"--labels: expected each id to stand once in {path}, but {column} has {repeated!r} {counts[repeated]} "
            "times. Remove what is too much."
        )
