"""Parquet files as tables of text, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embed.catalogue.bad_lines import BadLines
from embed.catalogue.formats.arrow_cells import ArrowColumns, reading_arrow
from embed.catalogue.formats.parquet_pictures import ParquetPictures, ParquetRow, find_bytes, open_parquet
from embed.catalogue.table import BATCH_ROWS
from embed.contents.file_ranges import PlacedCell
from embed.settings import ExtractSettings

__all__ = ["ParquetTable"]

N_LOOKED_AT = 64  # values, to tell text from other bytes


class ParquetTable:
    """The rows of a Parquet file as text; of pictures in a column of bytes, where they are.

    A picture's cell is its path where there is one, else ``<file>#<row>``. Where a row has a path and no bytes, the
    path is that of a file, as in any other table.

    Raises:
        CatalogueError: it is no whole Parquet file, or two columns have one name.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.bad_lines = BadLines(path)  # there are none
        with self._opened() as file:
            self._arrow_columns = ArrowColumns.of(
                file.schema_arrow, path, settings, first_values=lambda name: _first_values(file, name)
            )
        self.columns = self._arrow_columns.names

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows in the file's order, each column a list of cells.

        Raises:
            CatalogueError: the file is damaged.
        """
        with self._opened() as file:
            yield from self._batches(file)

    def _batches(self, file: Any) -> Iterator[dict[str, list[str]]]:
        picture, leaves = self._arrow_columns.picture, list(self._arrow_columns.plain)
        if picture is None:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=leaves, use_threads=False):
                yield self._arrow_columns.cells(batch)
            return
        pictures = ParquetPictures(self.path, picture)
        n_rows = file.metadata.num_rows
        if not leaves and not picture.has_paths:  # nothing but pictures, which are not read here
            for start in range(0, n_rows, BATCH_ROWS):
                rows = range(start, min(start + BATCH_ROWS, n_rows))
                yield {picture.name: [self._picture_cell(pictures, row, None) for row in rows]}
            return
        has_bytes = find_bytes(file, picture) if picture.has_paths else np.ones(n_rows, dtype=bool)  # (N,)
        if picture.has_paths:
            leaves.append(f"{picture.name}.path")
        start = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=leaves, use_threads=False):
            paths: list[str | None] = [None] * batch.num_rows
            if picture.has_paths:
                paths = batch.column(batch.schema.get_field_index(picture.name)).flatten()[0].to_pylist()
            cells = self._arrow_columns.cells(batch)
            cells[picture.name] = [
                self._picture_cell(pictures, row, path) if has_bytes[row] else path or ""
                for row, path in enumerate(paths, start)
            ]
            yield cells
            start += batch.num_rows

    def _picture_cell(self, pictures: ParquetPictures, row: int, path: str | None) -> PlacedCell:
        return PlacedCell(path or f"{self.path.name}#{row}", ParquetRow(pictures, row))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with reading_arrow(self.path, "a Parquet file"), open_parquet(self.path) as file:
            yield file


def _first_values(file: Any, name: str) -> Any:
    batch = next(file.iter_batches(batch_size=N_LOOKED_AT, columns=[name], use_threads=False), None)
    return pa.array([]) if batch is None else batch.column(0)
