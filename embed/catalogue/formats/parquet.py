"""Parquet files as tables of text, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.reading import raise_if_refused
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.formats.arrow_cells import ArrowColumns
from embed.catalogue.formats.parquet_pictures import ParquetPictures, ParquetRow, find_bytes
from embed.catalogue.table import BATCH_ROWS
from embed.contents.file_ranges import PlacedCell
from embed.errors import CatalogueError
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
        try:
            with self._open() as file:
                self._reads = ArrowColumns.of(file.schema_arrow, path, settings, first=lambda name: _first(file, name))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error
        self.columns = self._reads.names

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows in the file's order, each column a list of cells.

        Raises:
            CatalogueError: the file is damaged.
        """
        try:
            with self._open() as file:
                yield from self._batches(file)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _batches(self, file: Any) -> Iterator[dict[str, list[str]]]:
        picture = self._reads.picture
        pictures = None if picture is None else ParquetPictures(self.path, picture)
        leaves = list(self._reads.plain)
        if picture is not None and picture.has_paths:
            leaves.append(f"{picture.name}.path")
        if not leaves:  # nothing but pictures, which are not read here
            for start in range(0, file.metadata.num_rows, BATCH_ROWS):
                n_rows = min(BATCH_ROWS, file.metadata.num_rows - start)
                yield self._with_pictures({}, pictures, [None] * n_rows, start)
            return
        has_bytes = None if picture is None or not picture.has_paths else find_bytes(file, picture)
        start = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=leaves, use_threads=False):
            paths: list[str | None] = [None] * batch.num_rows
            if picture is not None and picture.has_paths:
                column = batch.column(batch.schema.get_field_index(picture.name))
                paths = column.flatten()[0].to_pylist()
            cells = self._with_pictures(self._reads.cells(batch), pictures, paths, start)
            if has_bytes is not None and picture is not None:
                own = has_bytes[start : start + batch.num_rows].tolist()
                cells[picture.name] = [
                    cell if is_there else path or ""
                    for cell, path, is_there in zip(cells[picture.name], paths, own, strict=True)
                ]
            yield cells
            start += batch.num_rows

    def _with_pictures(
        self, cells: dict[str, list[str]], pictures: ParquetPictures | None, paths: list[str | None], start: int
    ) -> dict[str, list[str]]:
        if pictures is not None and self._reads.picture is not None:
            cells[self._reads.picture.name] = [
                PlacedCell(path or f"{self.path.name}#{row}", ParquetRow(pictures, row))
                for row, path in enumerate(paths, start)
            ]
        return cells

    def _open(self) -> Any:
        return pq.ParquetFile(self.path, buffer_size=2**20, pre_buffer=False)

    def _damaged(self, error: Exception) -> CatalogueError:
        raise_if_refused(error, self.path)
        return CatalogueError(f"Expected the catalogue to be a Parquet file, but {self.path} is not: {error}")


def _first(file: Any, name: str) -> Any:
    batch = next(file.iter_batches(batch_size=N_LOOKED_AT, columns=[name], use_threads=False), None)
    return pa.array([]) if batch is None else batch.column(0)
