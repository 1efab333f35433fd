"""Pictures in a column of a Parquet file, read a few rows at a time, so that memory holds no more."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embed.catalogue.formats.arrow_cells import PictureColumn
from embed.contents.file_ranges import MAX_BYTES, unreadable
from embed.contents.statuses import ABSENT
from embed.errors import ContentError

__all__ = ["ParquetPictures", "ParquetRow", "find_bytes", "open_parquet"]

WINDOW_BYTES = 4 * 2**20
WINDOW_ROWS = 256
N_WINDOWS = 16  # kept, for threads that lag behind one another


class ParquetPictures:
    """The bytes of one column by row; rows that are asked for in about their order are each read once.

    A row group is decoded from its start on, window by window; what cannot be parted is a page, in which pyarrow puts
    1,024 values where the row group has as many, and Hugging Face's datasets 100. Whoever asks for a row behind the
    last windows has the row group begun anew.
    """

    def __init__(self, path: Path, column: PictureColumn) -> None:
        self.path = path
        self.column = column
        self._lock = threading.Lock()
        self._file: Any = None
        self._stops = np.zeros(0, dtype=np.int64)  # (row groups,) the row behind each one's last
        self._windows: deque[tuple[int, Any]] = deque(maxlen=N_WINDOWS)  # first row, values
        self._batches: Iterator[Any] = iter(())
        self._next_row = 0  # that the batches go on with
        self._stop_row = 0  # where they end

    def __reduce__(self) -> tuple[type, tuple[Path, PictureColumn]]:
        """Say how another process opens the same file."""
        return ParquetPictures, (self.path, self.column)

    def value(self, row: int) -> bytes | None:
        """Return the bytes of a row, None where the cell is empty.

        Raises:
            ContentError: the file cannot be read, or the bytes are too many.
        """
        try:
            with self._lock:
                first_row, values = self._window(row)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(error, self.path) from error
        buffer = values[row - first_row].as_buffer()
        if buffer is None:
            return None
        if buffer.size > MAX_BYTES:
            raise ContentError("too_large")
        return buffer.to_pybytes()

    def _window(self, row: int) -> tuple[int, Any]:
        for first_row, values in reversed(self._windows):
            if first_row <= row < first_row + len(values):
                return first_row, values
        if self._next_row < self._stop_row <= row < self._next_row + WINDOW_ROWS:
            while self._next_window() is not None:  # threads that lag behind still want the row group's last rows
                pass
        if not self._next_row <= row < self._stop_row:
            self._begin_group(row)
        while (window := self._next_window()) is not None:
            if row < self._next_row:
                return window
        raise ContentError("changed")

    def _next_window(self) -> tuple[int, Any] | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        window = (self._next_row, _values(batch, self.column))
        self._windows.append(window)
        self._next_row += batch.num_rows
        return window

    def _begin_group(self, row: int) -> None:
        if self._file is None:
            self._file = open_parquet(self.path)
            metadata = self._file.metadata
            self._stops = np.cumsum([metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)])
        number = int(np.searchsorted(self._stops, row, side="right"))
        if number == len(self._stops):
            raise ContentError("changed")
        n_rows = self._file.metadata.row_group(number).num_rows
        self._batches = _windows(self._file, number, self.column)
        self._next_row, self._stop_row = int(self._stops[number]) - n_rows, int(self._stops[number])


def open_parquet(path: Path) -> Any:
    """Return an open Parquet file, of which no more is read ahead than is asked for."""
    return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)


def find_bytes(file: Any, column: PictureColumn) -> np.ndarray:
    """Return whether each row of an open file has a picture's bytes, (N,) bool.

    A row group's statistics say so where all have or none has; else the column is read.
    """
    has_bytes = []
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        (chunk,) = _chunks(group, column)
        statistics = chunk.statistics
        n_null = statistics.null_count if statistics is not None and statistics.has_null_count else None
        if n_null in (0, group.num_rows):
            has_bytes.append(np.full(group.num_rows, n_null == 0))
        else:
            windows = _windows(file, number, column)
            has_bytes += [_values(batch, column).is_valid().to_numpy(zero_copy_only=False) for batch in windows]
    return np.concatenate([np.zeros(0, dtype=bool), *has_bytes])


def _leaf(column: PictureColumn) -> str:
    return f"{column.name}.bytes" if column.is_struct else column.name


def _chunks(group: Any, column: PictureColumn) -> list[Any]:
    """Return what a row group's metadata says of the column's bytes."""
    chunks = [group.column(n) for n in range(group.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema == _leaf(column)]


def _windows(file: Any, number: int, column: PictureColumn) -> Iterator[Any]:
    """Return a row group's batches, of at most `WINDOW_ROWS` rows and about `WINDOW_BYTES`."""
    group = file.metadata.row_group(number)
    n_bytes = sum(chunk.total_uncompressed_size for chunk in _chunks(group, column))
    n_rows = max(1, min(WINDOW_ROWS, WINDOW_BYTES * group.num_rows // max(1, n_bytes)))
    batches: Iterator[Any] = file.iter_batches(
        batch_size=n_rows, row_groups=[number], columns=[_leaf(column)], use_threads=False
    )
    return batches


def _values(batch: Any, column: PictureColumn) -> Any:
    return batch.column(0).flatten()[0] if column.is_struct else batch.column(0)


@dataclass(frozen=True, slots=True)
class ParquetRow:
    """One picture of a column."""

    pictures: ParquetPictures
    row: int

    def read(self) -> bytes:
        content = self.pictures.value(self.row)
        if content is None:
            raise ContentError(ABSENT)
        return content
