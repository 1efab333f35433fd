"""Pictures that are bytes in Parquet files; a cell names their path in the table, or ``<file>.parquet#<row>``."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from cache.columns.column_names import usual_column
from heads.reports.folders_below import MOST_ENTRIES, folders_below

__all__ = ["TablePictures"]

MOST_FILES = 100
MOST_PATHS = 1_000_000  # of all files; pictures beyond them are not found
BATCH_ROWS = 32
BUFFER_BYTES = 2**20  # without a buffer, a column of a whole row group is read at once
SUFFIXES = (".parquet", ".pq")

_ROW = re.compile(r"(?P<name>[^/]+)#(?P<row>[0-9]{1,12})")


class _Location(NamedTuple):
    file: Path
    leaf: str  # the column of bytes, as Parquet names it
    row: int


class TablePictures:
    """The pictures in the Parquet files below a folder, which are looked for once; threads may share it.

    A path that several rows have, or a file's name that several files have, names none.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()  # an open file of pyarrow may be used by one thread only
        self._locations: dict[str, _Location | None] | None = None  # by path, or by a file's name its row 0

    def read(self, cell: str, *, most_bytes: int) -> bytes:
        """Return the bytes of the picture that a cell names.

        Raises:
            LookupError: there is no such picture.
            ImportError: pyarrow is not installed.
            OSError, ValueError: the file is damaged, or has nothing there, or too many bytes.
        """
        with self._lock:
            if self._locations is None:
                self._locations = {}
                for name, named_location in islice(_locations(self._root), MOST_PATHS):
                    self._locations[name] = None if name in self._locations else named_location
            match = _ROW.fullmatch(cell)
            # A path with folders is more likely that of a file that is gone than that of a table here.
            location = None if "/" in cell else self._locations.get(match["name"] if match else cell)
            if location is None:
                raise LookupError(cell)
            return _read(location._replace(row=int(match["row"])) if match else location, most_bytes)


def _locations(root: Path) -> Iterator[tuple[str, _Location]]:
    """Yield the names of the pictures below a folder, each with its location."""
    if not (paths := list(islice(_files(root), MOST_FILES))):
        return
    import pyarrow as pa

    of_bytes = (pa.binary(), pa.large_binary())
    for path in paths:
        # A damaged file has no pictures; the others do.
        with suppress(pa.ArrowException, OSError), _opened(path) as file:
            fields = {field.name: field.type for field in file.schema_arrow}
            structs = [name for name, kind in fields.items() if _child(kind, "bytes") in of_bytes]
            plain = [name for name, kind in fields.items() if kind in of_bytes]
            column = usual_column("image", structs + plain) or next(iter(structs), None)
            if column is None:
                continue
            location = _Location(path, f"{column}.bytes" if column in structs else column, 0)
            yield path.name, location
            if column in structs and _child(fields[column], "path") in (pa.string(), pa.large_string()):
                for row, name in enumerate(_texts(file, f"{column}.path")):
                    if name:
                        yield name.strip(), location._replace(row=row)


def _opened(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)


def _child(kind: Any, name: str) -> Any:
    """Return the type of a struct's child; None where a column's type has none such."""
    index = kind.get_field_index(name) if hasattr(kind, "get_field_index") else -1
    return kind.field(index).type if index >= 0 else None


def _texts(file: Any, leaf: str) -> Iterator[str | None]:
    for batch in file.iter_batches(columns=[leaf], use_threads=False):
        yield from batch.column(0).flatten()[0].to_pylist()


def _files(root: Path) -> Iterator[Path]:
    """Yield the Parquet files in a folder and in those below it, without links."""
    for folder in (root, *folders_below(root)):
        names: list[str] = []
        with suppress(OSError), os.scandir(folder) as entries:  # it may not be read, or is gone
            parquet_entries = (
                entry for entry in islice(entries, MOST_ENTRIES) if entry.name.lower().endswith(SUFFIXES)
            )
            names += (entry.name for entry in parquet_entries if entry.is_file(follow_symlinks=False))
        names.sort()
        yield from (folder / name for name in names)


def _read(location: _Location, most_bytes: int) -> bytes:
    with _opened(location.file) as file:
        n_rows_before = 0
        for number in range(file.metadata.num_row_groups):
            n_rows = file.metadata.row_group(number).num_rows
            if location.row < n_rows_before + n_rows:
                batches: Any = file.iter_batches(
                    batch_size=BATCH_ROWS, row_groups=[number], columns=[location.leaf], use_threads=False
                )
                for batch in batches:
                    if location.row < n_rows_before + batch.num_rows:
                        column = batch.column(0)
                        values = column.flatten()[0] if location.leaf != batch.schema.names[0] else column
                        content = values[location.row - n_rows_before].as_py()
                        if not content or len(content) > most_bytes:
                            raise ValueError("the row has no picture, or one that is too large")
                        return bytes(content)
                    n_rows_before += batch.num_rows
            n_rows_before += n_rows
    raise LookupError(location)
