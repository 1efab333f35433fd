"""A table with one picture a row, whether a column names it, lists it among others, or a template makes its path."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from cache.cloud.addresses import is_address
from cache.columns.column_names import PICTURE_KEYS, USUAL_NAMES, plain_name, usual_columns
from cache.system.name_spellings import spelling_in
from embed.amounts import plural
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.columns import ColumnFinder, check_asked
from embed.catalogue.open_table import open_table
from embed.catalogue.pictures.image_template import ImageTemplate, split_templates
from embed.catalogue.pictures.picture_lists import PictureList, is_picture_name, split_pictures
from embed.catalogue.pictures.template_search import find_templates
from embed.catalogue.split_names import SPLIT, splits_of_files
from embed.catalogue.table import BATCH_ROWS, Table, folder_of
from embed.contents.file_ranges import PlacedCell
from embed.contents.objects import is_object
from embed.errors import CatalogueError, SettingError
from embed.settings import ExtractSettings

__all__ = ["PicturedTable", "open_pictured", "with_pictures"]

N_SAMPLED = 200  # rows, to find a template
MOSTLY = 0.95  # of the filled cells of a column, which name pictures where it is one of pictures
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
            check_asked("--image-template", name, table.columns)
    if len(templates) > 1 and is_address(root):
        raise SettingError(
            f"--image-template: expected one where the pictures are in a bucket ({root}), got {len(templates)}: it "
            "is not asked for each whether it leads to one. Name the one to take."
        )
    image = finder.find("image")
    if not templates and settings.image_column is None:
        image, templates = _search(finder, image, root, path)
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
        if cells and all(is_picture_name(one) and not isinstance(one, PlacedCell) for one in cells):
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
        splits = {} if has_splits else splits_of_files([Path(one.text) for one in templates])
        self._splits = {one: splits[Path(one.text)] for one in templates if splits}  # that folders of pictures say
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
            lists = [None if isinstance(cell, PlacedCell) else split_pictures(cell) for cell in batch[self.image]]
            n_several += sum(one is not None and len(one) > 1 for one in lists)
            n_pictures += sum(len(one) for one in lists if one is not None and len(one) > 1)
            if self.has_rows:
                yield from self._expanded(batch, lists, first_row=n_rows)
            else:
                for row, one in enumerate(lists):
                    if one is not None:
                        several = self.has_means and len(one) > 1
                        batch[self.image][row] = PictureList(one) if several else one[0] if one else ""
                yield batch
            n_rows += n
        self.bad_lines = self._table.bad_lines
        if n_several and not self._is_told:
            self._is_told = True
            self._tell(n_several, n_rows, n_pictures)

    def _add_paths(self, batch: Batch) -> None:
        """Add the column that the templates make, and that of splits where their folders say some."""
        cells, splits = [], []
        names = list(dict.fromkeys(name for template in self.templates for name in template.columns))
        for row_cells in zip(*(batch[name] for name in names), strict=True):
            row = dict(zip(names, row_cells, strict=True))
            ways = [(paths, template) for template in self.templates if (paths := template.paths(row))]
            is_sought = len(ways) > 1 or self._splits
            chosen = next((one for one in ways if (self.root / one[0][0]).is_file()), None) if is_sought else None
            paths, _ = chosen or next(iter(ways), ([""], None))
            cells.append(json.dumps(paths) if len(paths) > 1 else paths[0])
            splits.append(self._splits.get(chosen[1], "") if chosen else "")
        batch[self.image] = cells
        if self._splits:
            batch[SPLIT] = splits

    def _expanded(self, batch: Batch, lists: Sequence[list[str] | None], *, first_row: int) -> Iterator[Batch]:
        """Yield a row for each picture of each row, at most `BATCH_ROWS` at a time."""
        pictures = [
            one or [""] if one is not None else [cell] for one, cell in zip(lists, batch[self.image], strict=True)
        ]
        rows = [row for row, names in enumerate(pictures) for _ in names]
        ids = batch.get(self.id_column or "") or [str(first_row + row) for row in range(len(pictures))]
        expanded = {name: [cells[row] for row in rows] for name, cells in batch.items()}
        expanded[self.image] = list(chain.from_iterable(pictures))
        expanded[self.product_column] = [ids[row] for row in rows]
        expanded[self.id_column or ""] = [
            f"{product}#{number}" if number > 1 else product
            for product, names in zip(ids, pictures, strict=True)
            for number in range(1, len(names) + 1)
        ]
        for start in range(0, len(rows), BATCH_ROWS):
            yield {name: expanded[name][start : start + BATCH_ROWS] for name in self.columns}

    def _tell(self, n_several: int, n_rows: int, n_pictures: int) -> None:
        share = f"{100 * n_several / n_rows:.3g} % of the rows of {self.path} list several pictures in {self.image}"
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


def _search(finder: ColumnFinder, image: str | None, root: Path, path: Path) -> tuple[str | None, list[ImageTemplate]]:
    """Return the column whose cells name pictures, or the templates that explain a sample of the first rows.

    It is the column `image` where a cell of it names a picture, or nothing explains the rows; all else is said where
    pictures are asked for.
    """
    if is_address(root):  # whose objects are not searched
        return image, []
    batch = finder.first_rows
    n_rows = len(next(iter(batch.values()), []))
    if not n_rows:
        return image, []
    numbers = range(0, n_rows, max(1, n_rows // N_SAMPLED))
    rows = [{name: cells[number] for name, cells in batch.items()} for number in numbers]
    if image is not None and any(_names_picture(row[image], root) for row in rows):
        return image, []
    level = logging.INFO if "image" in finder.settings.modalities else logging.DEBUG
    lack = f"No column of {path} has a usual name for pictures"
    if image is not None:
        lack = f"Of {plural(len(rows), 'row')} of {path} that were looked at, {image} names no picture that is there"
    if naming := _naming_pictures(finder.columns, rows, root):
        also = f" So do {', '.join(naming[1:4])}: --image-column names the one to take." if naming[1:] else ""
        log.log(level, "%s; %s does by its cells, and is taken.%s", lack, naming[0], also)
        return naming[0], []
    found = find_templates(rows, root, table_name=path.name, with_links=finder.settings.allow_outside)
    if found is None:
        return image, []
    shown = ",".join(found.templates)
    others = f" So would {found.others[0]}: --image-template names the one to take." if found.others else ""
    log.log(
        level, "%s; --image-template '%s' does, for %d of %s looked at.%s",
        lack, shown, found.n_explained, plural(found.n_sampled, "row"), others,
    )  # fmt: skip
    return image, [ImageTemplate(text) for text in found.templates]


def _naming_pictures(columns: Sequence[str], rows: Sequence[Mapping[str, str]], root: Path) -> list[str]:
    """Return the columns nearly all of whose cells name pictures, the fullest first, in their order."""
    naming = {}
    for column in columns:
        filled = [cell for row in rows if (cell := row[column]).strip()]
        n_spared = int((1 - MOSTLY) * len(filled))
        others = (cell for cell in filled if not _names_picture(cell, root, is_guessed=True))
        if len(set(filled)) > 1 and len(list(islice(others, n_spared + 1))) <= n_spared:
            naming[column] = len(filled)
    return sorted(naming, key=lambda column: -naming[column])


def _names_picture(cell: str, root: Path, *, is_guessed: bool = False) -> bool:
    """Return whether a cell, or the first of those that it lists, is a file or the URL of an object.

    Where the column `is_guessed` its name has to end as a picture's does, too: files of other kinds are also there.
    """
    if isinstance(cell, PlacedCell):
        return True
    names = split_pictures(cell) or [cell.strip()]
    if is_guessed and not is_picture_name(names[0]):
        return False
    if is_object(names[0]):
        return True
    return bool(names[0]) and os.path.isfile(root / spelling_in(root, names[0]))


def _free_name(names: Sequence[str], columns: Sequence[str]) -> str:
    """Return the first name that no column has."""
    return next((name for name in names if name not in columns), "_".join([names[0], *columns]))
