"""Reading a catalogue: a table of products whose cells stay what is written in them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cache import ContentSpec
from cache.arrays.large_arrays import GrowingArray, row_blocks
from cache.arrays.string_column import ColumnGatherer, sorted_hashes, take_cells
from cache.cloud.addresses import StoragePath
from cache.columns.column_names import share_filled
from embed.catalogue.columns import (
    MOST_LIKELY,
    ColumnFinder,
    check_column,
    find_id_column,
    find_roles,
    shortened_hint,
)
from embed.catalogue.pictures.pictured_table import open_pictured
from embed.catalogue.row_filter import Where, batches_where
from embed.catalogue.stray_cells import tell_stray_bytes
from embed.catalogue.subsample import choose_rows
from embed.catalogue.table import Table, folder_of
from embed.contents.texts import SEPARATOR, join
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["Catalogue", "read_catalogue"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class Catalogue:
    """N products as they are written: ids, every other column, and which column plays which role."""

    path: Path
    ids: Sequence[str]
    columns: dict[str, Sequence[str]]
    roles: dict[str, str]  # modality -> column, those to be encoded and others that were found
    text_columns: tuple[str, ...] = ()  # that are joined; none: the text is one column
    templates: tuple[str, ...] = ()  # of the pictures' paths
    has_means: bool = False  # whether a product of several pictures has the mean of their vectors
    filled: dict[str, dict[str, float]] = field(default_factory=dict)  # id, modality, label -> column -> how full it is

    def cells(self, modality: str) -> Sequence[str]:
        """Return the N cells of the modality's column, or of several joined."""
        if modality == "text" and self.text_columns:
            return [join(cells) for cells in zip(*(self.columns[name] for name in self.text_columns), strict=True)]
        return self.columns[self.roles[modality]]

    def class_names(self, columns: Sequence[str]) -> list[str]:
        """Return what stands in some columns, each name once, in the order of their first mention.

        Raises:
            CatalogueError: nothing does.
        """
        names = list(dict.fromkeys(cell for column in columns for cell in self.columns[column] if cell.strip()))
        if columns and not names:
            raise CatalogueError(
                f"--class-names: expected names of classes in {', '.join(columns)}, but all cells are empty. Name "
                "another column."
            )
        return names

    def content_spec(self, modality: str, *, is_cleaned: bool) -> ContentSpec:
        """Return of which columns the modality's contents are made, and how."""
        columns = [self.roles[modality]]
        fields: dict[str, Any] = {}
        if modality == "text":
            columns = list(self.text_columns) or columns
            fields = ({"join": SEPARATOR} if len(columns) > 1 else {}) | ({"clean": True} if is_cleaned else {})
        elif self.templates:
            columns, fields = [], {"templates": list(self.templates)}
        if modality == "image" and self.has_means:
            fields["pictures"] = "mean"
        return ContentSpec(modality, {"columns": columns, **fields})

    @property
    def folder(self) -> Path:
        """What pictures' paths are relative to, if nothing else is said."""
        return folder_of(self.path)


def read_catalogue(path: str | Path, settings: ExtractSettings | None = None) -> Catalogue:
    """Return the catalogue in a file or folder that `open_table` reads; every cell is the text that was written.

    Of the products, first those are taken for which ``where`` holds, of these so many ``per_class``, of these a
    ``sample``.

    Raises:
        CatalogueError: there is no such file, it has no rows, a column cannot be found, or ids repeat.
        SettingError: ``where`` is no condition on the columns there are.
    """
    settings = settings or ExtractSettings()
    path = StoragePath(path)
    table, settings = open_pictured(path, settings)
    condition = None if settings.where is None else Where(settings.where, table.columns)
    finder = ColumnFinder(table, settings)
    roles = find_roles(finder, path)
    id_column = find_id_column(finder, path)
    for name in settings.class_name_columns:
        check_column("--class-names", name, [column for column in table.columns if column != id_column])
    if settings.per_class is not None:
        check_column("--label", settings.label, table.columns)
    n_rows, row_numbers, columns = _read(table, condition)
    table.bad_lines.tell()
    if not n_rows:
        raise CatalogueError(f"Expected the catalogue to have rows, but {path} has a header and none.")
    if id_column is not None:
        _check_ids(columns, row_numbers, id_column, path)
    if settings.per_class is not None or settings.sample is not None:
        chosen_rows = choose_rows(
            len(row_numbers),
            labels=columns.get(settings.label or ""),
            per_class=settings.per_class,
            sample=settings.sample,
            seed=settings.seed,
        )
        row_numbers = row_numbers[chosen_rows]
        columns = {name: take_cells(cells, chosen_rows) for name, cells in columns.items()}
    _tell_subset(len(row_numbers), n_rows, settings, path)
    tell_stray_bytes(columns, path)
    ids = _number_texts(row_numbers) if id_column is None else columns[id_column]
    text_columns = settings.text_column_names
    filled = _shares_filled(columns, {"id": id_column, **roles, "label": finder.find("label")}, text_columns)
    if id_column is not None and id_column not in (*roles.values(), *text_columns):
        del columns[id_column]
    return Catalogue(
        path=path,
        ids=ids,
        columns=columns,
        roles=roles,
        text_columns=text_columns,
        templates=tuple(template.text for template in getattr(table, "templates", ())),
        has_means=getattr(table, "has_means", False),
        filled=filled,
    )


def _read(table: Table, condition: Where | None) -> tuple[int, np.ndarray, dict[str, Sequence[str]]]:
    """Return how many rows the table has, and the numbers and cells of those for which the condition holds.

    Shape:
        numbers: (N,) int64, counted from 0; each column has N cells.
    """
    n_rows = 0
    row_numbers = GrowingArray(np.int64)
    columns = {name: ColumnGatherer() for name in table.columns}
    for n_rows, batch_numbers, batch in batches_where(table, condition):  # noqa: B007 - the last one counts
        row_numbers.extend(np.array(batch_numbers, dtype=np.int64))
        for name, cells in columns.items():
            cells.extend(batch[name])
    return n_rows, row_numbers.array(), {name: cells.column() for name, cells in columns.items()}


def _tell_subset(n_chosen: int, n_rows: int, settings: ExtractSettings, path: Path) -> None:
    """Note how many products the options have chosen.

    Raises:
        CatalogueError: they have chosen none.
    """
    options = [
        f"--{name.replace('_', '-')}"
        for name in ("where", "per_class", "sample")
        if getattr(settings, name) is not None
    ]
    if not options:
        return
    if not n_chosen:
        raise CatalogueError(
            f"Expected {' and '.join(options)} to leave products, but of {n_rows} in {path} none is left."
        )
    log.info("%d of the %d products of %s are taken (%s).", n_chosen, n_rows, path, ", ".join(options))


def _shares_filled(
    columns: Mapping[str, Sequence[str]], role_columns: Mapping[str, str | None], text_columns: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return how full the columns of each role are, {role: {column: share of cells that are not empty}}."""
    names: dict[str, tuple[str, ...]] = {role: (column,) for role, column in role_columns.items() if column is not None}
    if text_columns:
        names["text"] = text_columns
    return {role: {name: share_filled(columns[name]) for name in role_names} for role, role_names in names.items()}


def _number_texts(row_numbers: np.ndarray) -> Sequence[str]:
    """Return the numbers of rows as ids."""
    ids = ColumnGatherer()
    for rows in row_blocks(len(row_numbers)):
        ids.extend(list(map(str, row_numbers[rows].tolist())))
    return ids.column()


def _check_ids(columns: Mapping[str, Sequence[str]], row_numbers: np.ndarray, column: str, path: Path) -> None:
    """Check that no two rows have one id.

    Raises:
        CatalogueError: some have.
    """
    ids = columns[column]
    hashes = sorted_hashes(ids)
    blocks = row_blocks(len(hashes) - 1)
    if not any((hashes[rows] == hashes[rows.start + 1 : rows.stop + 1]).any() for rows in blocks):
        return  # a set of the ids themselves would take some hundred bytes each
    n_distinct = len(set(ids))
    if n_distinct == len(ids):
        return
    repeated = [(cell, count) for cell, count in Counter(ids).most_common(3) if count > 1]
    rows = [n + 1 for n, cell in zip(row_numbers.tolist(), ids, strict=True) if cell == repeated[0][0]][:2]
    shown = ", ".join(f"{cell!r} {count} times" for cell, count in repeated)
    distinct_columns = (name for name, cells in columns.items() if len(set(cells)) == len(cells))
    candidates = ", ".join(islice(distinct_columns, MOST_LIKELY))
    another = f"another column ({candidates} can be one)" if candidates else "a column of numbers, which you write,"
    raise CatalogueError(
        f"Expected each id to name one product, but {column} of {path} has {shown} (rows {rows[0]} and {rows[1]} "
        f"below the header). Remove what is too many ({len(ids) - n_distinct}), or name {another} with "
        f"--id-column.{shortened_hint(repeated[0][0])}"
    )
