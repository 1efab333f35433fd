"""A table with one picture a row, whether a column names it, lists it among others, or a template makes its path."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from cache.cloud.addresses import is_address
from cache.columns.column_names import PICTURE_KEYS, USUAL_NAMES, plain_name, usual_columns
from cache.shares import percent
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.columns import ColumnFinder, check_column
from embed.catalogue.open_table import open_table
from embed.catalogue.pictures.image_template import ImageTemplate, split_templates
from embed.catalogue.pictures.picture_lists import PictureList, is_picture_name, split_pictures
from embed.catalogue.pictures.picture_search import find_pictures
from embed.catalogue.split_names import SPLIT, splits_of_files
from embed.catalogue.table import BATCH_ROWS, Table, folder_of
from embed.contents.file_ranges import PlacedCell
from embed.errors import CatalogueError, SettingError
from embed.settings import ExtractSettings

__all__ = ["PRODUCT_NAMES", "PicturedTable", "open_pictured", "with_pictures"]

PRODUCT_NAMES = ("product", "product_of_picture", "picture_product")
ID_NAMES = ("id", "row_id", "picture_id")

log = logging.getLogger("embed_once")

Batch = dict[str, list[str]]


def open_pictured(path: Path, settings: ExtractSettings) -> tuple[Table, ExtractSettings]:
    """Return the table in a file or folder with one picture a row, and the settings that name its columns.

    Raises:
        CatalogueError: the table cannot be read, or a template names a column that is not there.
        SettingError: a template is none.
    """
    return with_pictures(open_table(path, settings), path, settings)


def with_pictures(table: Table, path: Path, settings: ExtractSettings) -> tuple[Table, ExtractSettings]:
    """Return a table with one picture a row, and the settings that name its columns; `path` is where it stands.

    A template makes a new column of paths. Where none is given, and no column of a usual name leads to a picture,
    another column that does is taken, else a template is looked for.

    Raises:
        CatalogueError: a template names a column that is not there, or the names of columns are a product's cells.
        SettingError: a template is none.
    """
    root = settings.image_root or folder_of(path)
    finder = ColumnFinder(table, settings)
    _check_header(finder, root, path)
    templates = list(split_templates(settings.image_template)) if settings.image_template else []
    for template in templates:
        for name in template.columns:
            check_column("--image-template", name, table.columns)
    if len(templates) > 1 and is_address(root):
        raise SettingError(
            f"--image-template: expected one where the pictures are in a bucket ({root}), got {len(templates)}: it "
            "is not asked for each whether it leads to one. Name the one to take."
        )
    image = finder.find("image")
    if not templates and settings.image_column is None:
        image, templates = find_pictures(finder, image, root, path)
    if templates:
        image = _free_name(USUAL_NAMES["image"], table.columns)
    if image is None:
        return table, settings
    pictured = PicturedTable(finder, image, templates, root=root, path=path)
    return pictured, replace(
        settings, image_column=image, image_template=(), id_column=pictured.id_column or settings.id_column
    )


def _check_header(finder: ColumnFinder, root: Path, path: Path) -> None:
    """Check that the names of columns are no product's cells: a picture that is there, or stands above others, is none.

    Raises:
        CatalogueError: they are.
    """
    is_named = any(usual_columns(role, finder.columns) for role in ("id", "text", "label"))
    for name in filter(is_picture_name, finder.columns):
        reason = "" if is_address(root) or not os.path.isfile(root / name) else "is a picture that is there"
        cells = [] if reason or is_named else finder.first_rows[name]
        if cells and all(is_picture_name(cell) and not isinstance(cell, PlacedCell) for cell in cells):
            reason = f"is a picture's name, as {cells[0]} below it is"
        if reason:
            raise CatalogueError(
                f"Expected {path} to begin with the names of its columns, but {name} {reason}, so that its first line "
                "seems to be a product. Write a line of names above it, such as id,title,image,label, separated as the "
                "cells are."
            )


class PicturedTable:
    """Another table's rows, each with one picture at most.

    Args:
        finder: the other table, and who finds its columns.
        image: the column of pictures; with `templates` a new one.
        templates: tried in turn; a row has the path of the first that leads to a file, else of the first.
        root: what paths are relative to.
    """

    def __init__(
        self,
        finder: ColumnFinder,
        image: str,
        templates: Sequence[ImageTemplate],
        *,
        root: Path,
        path: Path,
    ) -> None:
        self._table = table = finder.table
        self.image = image
        self.templates = templates
        self.root = root
        self.path = path
        self.has_rows = finder.settings.pictures == "rows"
        self.has_means = finder.settings.pictures == "mean"
        has_splits = SPLIT in map(plain_name, table.columns)
        splits = {} if has_splits else splits_of_files([Path(template.text) for template in templates])
        self._splits = {template: splits[Path(template.text)] for template in templates if splits}  # by folders' names
        self.columns = list(table.columns) + ([image] if templates else []) + ([SPLIT] if splits else [])
        self.id_column = finder.find("id")
        self.product_column = ""
        if self.has_rows:
            if self.id_column is None:
                self.id_column = _free_name(ID_NAMES, self.columns)
                self.columns.insert(0, self.id_column)
            self.product_column = _free_name(PRODUCT_NAMES, self.columns)
            self.columns.append(self.product_column)
        if self.has_means and PICTURE_KEYS in self.columns:
            raise CatalogueError(
                f"Expected no column {PICTURE_KEYS} in {path}, since --pictures mean makes one. Rename it."
            )
        self.bad_lines: BadLines = table.bad_lines
        self._is_told = False

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in the table's order, each column a list of cells."""
        n_rows = n_several = n_pictures = 0
        for batch in self._table.batches():
            n = len(next(iter(batch.values())))
            if self.templates:
                self._add_paths(batch)
            # None where a cell is no list: it names one picture, or none.
            lists = [None if isinstance(cell, PlacedCell) else split_pictures(cell) for cell in batch[self.image]]
            counts = [len(pictures) for pictures in lists if pictures is not None and len(pictures) > 1]
            n_several += len(counts)
            n_pictures += sum(counts)
            if self.has_rows:
                yield from self._expanded(batch, lists, first_row=n_rows)
            else:
                for row, pictures in enumerate(lists):
                    if pictures is not None:
                        batch[self.image][row] = self._one_cell(pictures)
                yield batch
            n_rows += n
        self.bad_lines = self._table.bad_lines
        if n_several and not self._is_told:
            self._is_told = True
            self._tell(n_several, n_rows, n_pictures)

    def _one_cell(self, pictures: list[str]) -> str:
        """Return the cell of a row that lists pictures: the first, which knows the others where these have a mean."""
        if self.has_means and len(pictures) > 1:
            return PictureList(pictures)
        return pictures[0] if pictures else ""

    def _add_paths(self, batch: Batch) -> None:
        """Add the column that the templates make, and that of splits where their folders say some."""
        cells, splits = [], []
        names = list(dict.fromkeys(name for template in self.templates for name in template.columns))
        for row_cells in zip(*(batch[name] for name in names), strict=True):
            paths, split = self._paths_and_split(dict(zip(names, row_cells, strict=True)))
            cells.append(json.dumps(paths) if len(paths) > 1 else paths[0])
            splits.append(split)
        batch[self.image] = cells
        if self._splits:
            batch[SPLIT] = splits

    def _paths_and_split(self, row: Mapping[str, str]) -> tuple[list[str], str]:
        """Return the paths of the first template that leads a row to a file, else of the first; and its folder's split.

        The split is "" where no folder says one, or none of the paths is there.
        """
        candidates = [(paths, template) for template in self.templates if (paths := template.paths(row))]
        if len(candidates) > 1 or self._splits:  # else there is nothing to choose, and no disk need be asked
            for paths, template in candidates:
                if (self.root / paths[0]).is_file():
                    return paths, self._splits.get(template, "")
        return candidates[0][0] if candidates else [""], ""

    def _expanded(self, batch: Batch, lists: Sequence[list[str] | None], *, first_row: int) -> Iterator[Batch]:
        """Yield a row for each picture of each row, at most `BATCH_ROWS` at a time."""
        pictures = [
            [cell] if listed is None else listed or [""] for listed, cell in zip(lists, batch[self.image], strict=True)
        ]
        rows = [row for row, row_pictures in enumerate(pictures) for _ in row_pictures]
        ids = batch.get(self.id_column or "") or [str(first_row + row) for row in range(len(pictures))]
        expanded = {name: [cells[row] for row in rows] for name, cells in batch.items()}
        expanded[self.image] = list(chain.from_iterable(pictures))
        expanded[self.product_column] = [ids[row] for row in rows]
        expanded[self.id_column or ""] = [
            f"{product}#{number}" if number > 1 else product
            for product, row_pictures in zip(ids, pictures, strict=True)
            for number in range(1, len(row_pictures) + 1)
        ]
        for start in range(0, len(rows), BATCH_ROWS):
            yield {name: expanded[name][start : start + BATCH_ROWS] for name in self.columns}

    def _tell(self, n_several: int, n_rows: int, n_pictures: int) -> None:
        share = f"{percent(n_several / n_rows, 0)} % of the rows of {self.path} list several pictures in {self.image}"
        if self.has_rows:
            log.info(
                "%s: each of the %d has a row of its own, and column %s says which belong to one product.",
                share, n_pictures, self.product_column,
            )  # fmt: skip
        elif self.has_means:
            log.info("%s: the mean of their vectors is taken, of %d pictures in all.", share, n_pictures)
        else:
            log.info(
                "%s: the first is taken (--pictures mean takes the mean of their vectors, rows makes a row of each).",
                share,
            )


def _free_name(names: Sequence[str], columns: Sequence[str]) -> str:
    """Return the first name that no column has."""
    return next((name for name in names if name not in columns), "_".join([names[0], *columns]))
