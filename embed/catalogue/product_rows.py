"""Products that a shop wrote in several rows each: the first row has the title, the others variants and pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from cache.columns.column_names import usual_column, usual_columns
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.pictures.picture_lists import list_pictures
from embed.catalogue.table import Table, first_rows
from embed.settings import ExtractSettings

__all__ = ["ProductRows", "merge_products"]

Batch = dict[str, list[str]]

log = logging.getLogger("embed_once")


class ProductRows:
    """A table of which rows that follow one another with one id, and no title but in the first, are one product.

    Of each column the product has the first cell that is not empty, and where cells name pictures all of them, as a
    list. Memory holds no more than one batch.
    """

    def __init__(self, table: Table, path: Path, *, key: str, titles: Sequence[str], image: str | None) -> None:
        self.table = table
        self.path = path
        self.key = key
        self.titles = titles
        self.image = image
        self.columns = table.columns
        self._has_lists = False  # of pictures of several rows
        self._is_told = False

    @property
    def bad_lines(self) -> BadLines:
        """What was left out of the last `batches`."""
        return self.table.bad_lines

    def batches(self) -> Iterator[Batch]:
        """Yield the products in their order, each column a list of cells."""
        n_rows = n_products = 0
        unfinished: Batch = {name: [] for name in self.columns}  # one product, which the next batch may go on with
        for rows in self.table.batches():
            n_rows += len(rows[self.key])
            products = self._merge({name: unfinished[name] + rows[name] for name in self.columns})
            unfinished = {name: cells[-1:] for name, cells in products.items()}
            finished = {name: cells[:-1] for name, cells in products.items()}
            n_products += len(finished[self.key])
            if finished[self.key]:
                yield finished
        n_products += len(unfinished[self.key])
        if unfinished[self.key]:
            yield unfinished
        if not self._is_told:
            self._is_told = True
            log.info(
                "Rows of %s with one %s and no further %s are one product, with the first cell that is not empty%s: "
                "%d rows, %d products.",
                self.path, self.key, " or ".join(self.titles), f", and all in {self.image}" * self._has_lists,
                n_rows, n_products,
            )  # fmt: skip

    def _merge(self, rows: Batch) -> Batch:
        """Return the products that rows make, one row each."""
        continues = _continues(rows, self.key, self.titles)
        starts = [row for row, is_part in enumerate(continues) if not is_part]
        spans = list(zip(starts, [*starts[1:], len(continues)], strict=True))
        return {
            name: [cells[start] if end - start == 1 else self._merged(name, cells[start:end]) for start, end in spans]
            for name, cells in rows.items()
        }

    def _merged(self, name: str, cells: Sequence[str]) -> str:
        """Return the cell of a product that has several in a column."""
        first_filled = next(filter(str.strip, cells), "")
        if name != self.image:
            return first_filled
        pictures = list_pictures(cells)
        self._has_lists |= pictures != first_filled
        return pictures


def merge_products(table: Table, path: Path, settings: ExtractSettings) -> Table:
    """Return the table with one row a product, where its first rows show that products have several.

    They do where ids repeat in rows that follow one another, no such row has a title, and most others have.
    """
    key = settings.id_column or usual_column("id", table.columns)
    texts = [*settings.text_column_names, *filter(None, [settings.text_column])] or usual_columns("text", table.columns)
    titles = [name for name in texts if name in table.columns and name != key]
    if key not in table.columns or not titles:
        return table
    rows = first_rows(table)
    ids = rows[key]
    repeats = [row > 0 and ids[row] == ids[row - 1] for row in range(len(ids))]
    continues = _continues(rows, key, titles)
    n_titled = sum(bool(cell.strip()) for cell in rows[titles[0]])
    n_products = continues.count(False)
    if not any(continues) or continues != repeats or 2 * n_titled < n_products:
        return table
    image = settings.image_column or usual_column("image", table.columns)
    return ProductRows(table, path, key=key, titles=titles, image=image)


def _continues(rows: Batch, key: str, titles: Sequence[str]) -> list[bool]:
    """Return for each row whether it goes on with the product of the row before: it has its id, and no title."""
    is_titled = [any(map(str.strip, cells)) for cells in zip(*(rows[name] for name in titles), strict=True)]
    ids = rows[key]
    return [
        row > 0 and bool(ids[row].strip()) and ids[row] == ids[row - 1] and not is_titled[row]
        for row in range(len(ids))
    ]
