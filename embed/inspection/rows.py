"""The rows that an inspection looks at: those of a table for which ``where`` holds, with joined texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from embed.catalogue.columns import ColumnFinder, check_column
from embed.catalogue.pictures.pictured_table import open_pictured
from embed.catalogue.row_filter import Where, batches_where
from embed.catalogue.table import Table
from embed.contents.texts import join
from embed.errors import CatalogueError
from embed.inspection.inspection_settings import InspectSettings
from embed.settings import MODALITIES

__all__ = ["Row", "Rows"]

Row = dict[str, str]
Batch = dict[str, list[str]]


class Rows:
    """A catalogue's rows, which can be read more than once; the table is opened once.

    Where several columns make the text, each row has one cell more: the joined ones, under the name that `roles` has.

    Raises:
        CatalogueError: the catalogue cannot be read, or lacks a column that was named.
        SettingError: ``where`` is no condition on the columns there are.
    """

    def __init__(self, path: Path, settings: InspectSettings) -> None:
        self.path = path
        label = settings.label or settings.extract.label  # whose cells may be lists
        self._table, extract = open_pictured(path, replace(settings.extract, label=label))
        settings = replace(settings, extract=extract)
        self.columns = self._table.columns
        self.text_columns = settings.extract.text_column_names
        self.roles = _find_roles(self._table, settings)  # id, image, text, label -> column
        where = settings.extract.where
        self._condition = None if where is None else Where(where, self.columns)
        self.n_read = 0  # of the table, and the lines that were left out: by the last `batches` that came to the end
        self.bad_lines = self._table.bad_lines

    def batches(self) -> Iterator[tuple[Sequence[int], Batch]]:
        """Yield the next rows' numbers in the table, from 0, and their cells by column.

        Raises:
            CatalogueError: the table is damaged, or has no rows for which the condition holds.
        """
        n_read = n_matching = 0
        for n_read, numbers, batch in batches_where(self._table, self._condition):  # noqa: B007 - the last one counts
            if len(self.text_columns) > 1:
                parts = zip(*(batch[name] for name in self.text_columns), strict=True)
                batch[self.roles["text"]] = [join(cells) for cells in parts]
            n_matching += len(numbers)
            if numbers:
                yield numbers, batch
        self.n_read, self.bad_lines = n_read, self._table.bad_lines
        if not n_read:
            raise CatalogueError(f"Expected the catalogue to have rows, but {self.path} has a header and none.")
        if not n_matching:
            raise CatalogueError(
                f"Expected --where to leave products, but of {n_read} in {self.path} none is left. Try another "
                "condition."
            )

    def at(self, positions: set[int]) -> dict[int, tuple[int, Row]]:
        """Return number and cells of the rows at some positions among those looked at; reading ends with the last."""
        rows: dict[int, tuple[int, Row]] = {}
        start = 0
        for numbers, batch in self.batches() if positions else ():
            for index in sorted(position - start for position in positions if 0 <= position - start < len(numbers)):
                rows[start + index] = numbers[index], {name: cells[index] for name, cells in batch.items()}
            start += len(numbers)
            if len(rows) == len(positions):
                break
        return rows


def _find_roles(table: Table, settings: InspectSettings) -> dict[str, str]:
    """Return the column of each role that has one, {role: column}: those that were named, and others by usual names.

    Raises:
        CatalogueError: a column that was named is not there.
    """
    extract = settings.extract
    requested = {f"--{role}-column": getattr(extract, f"{role}_column") for role in ("id", *MODALITIES)}
    requested["--label"] = settings.label
    for option, name in requested.items():
        if name is not None:
            check_column(option, name, table.columns)
    for name in extract.text_column_names:
        check_column("--text-columns", name, table.columns)
    finder = ColumnFinder(table, extract)
    roles = {role: finder.find(role) for role in ("id", *MODALITIES)}
    if extract.text_column_names:
        roles["text"] = ", ".join(extract.text_column_names)
    roles["label"] = settings.label or finder.find("label")
    return {role: column for role, column in roles.items() if column is not None}
