"""Pictures that stand as bytes in Parquet files: a cell has their path in the table, or ``<file>.parquet#<row>``."""

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
MOST_PATHS = 1_000_000  # that are kept of all files; of more none is found
BATCH_ROWS = 32
BUFFER_BYTES = 2**20  # else a column of a whole row group is read at once
SUFFIXES = (".parquet", ".pq")

_ROW = re.compile(r"(?P<name>[^/]+)#(?P<row>[0-9]{1,12})")


class _Place(NamedTuple):
    file: Path
    leaf: str  # the column of bytes, as Parquet names it
    row: int


class TablePictures:
    """The pictures in the Parquet files below a folder, which are looked for once; threads may share it.

    A path that several rows have, or a file's name that several files have, names none.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()  # pyarrow's open files are no thread's but one's
        self._places: dict[str, _Place | None] | None = None  # by path, or by a file's name its row 0

    def read(self, cell: str, *, most_bytes: int) -> bytes:
        """Return the bytes of the picture that a cell names.

        Raises:
            LookupError: there is none such.
            ImportError: pyarrow is not installed.
            OSError, ValueError: the file is damaged, or has nothing there, or too many bytes.
        """
        with self._lock:
            if self._places is None:
                self._places = {}
                for name, stands in islice(_places(self._root), MOST_PATHS):
                    self._places[name] = None if name in self._places else stands
            match = _ROW.fullmatch(cell)
            # A path with folders is rather that of a file that is gone than of a table that happens to be there.
            place = None if "/" in cell else self._places.get(match["name"] if match else cell)
            if place is None:
                raise LookupError(cell)
            return _read(place._replace(row=int(match["row"])) if match else place, most_bytes)


def _places(root: Path) -> Iterator[tuple[str, _Place]]:
    """Yield what names pictures below a folder, and where each stands."""
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
            place = _Place(path, f"{column}.bytes" if column in structs else column, 0)
            yield path.name, place
            if column in structs and _child(fields[column], "path") in (pa.string(), pa.large_string()):
                for row, name in enumerate(_texts(file, f"{column}.path")):
                    if name:
                        yield name.strip(), place._replace(row=row)


def _opened(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)


def _child(kind: Any, name: str) -> Any:
    """Return the type of a struct's child; None where a column's type has none such."""
    place = kind.get_field_index(name) if hasattr(kind, "get_field_index") else -1
    return kind.field(place).type if place >= 0 else None


def _texts(file: Any, leaf: str) -> Iterator[str | None]:
    for batch in file.iter_batches(columns=[leaf], use_threads=False):
        yield from batch.column(0).flatten()[0].to_pylist()


def _files(root: Path) -> Iterator[Path]:
    """Yield the Parquet files in a folder and in those below it; none that leads elsewhere."""
    for folder in (root, *folders_below(root)):
        names: list[str] = []
        with suppress(OSError), os.scandir(folder) as entries:  # it may not be read, or is gone
            found = (entry for entry in islice(entries, MOST_ENTRIES) if entry.name.lower().endswith(SUFFIXES))
            names += (entry.name for entry in found if entry.is_file(follow_symlinks=False))
        names.sort()
        yield from (folder / name for name in names)


def _read(place: _Place, most_bytes: int) -> bytes:
    with _opened(place.file) as file:
        first = 0
        for number in range(file.metadata.num_row_groups):
            n_rows = file.metadata.row_group(number).num_rows
            if place.row < first + n_rows:
                batches: Any = file.iter_batches(
                    batch_size=BATCH_ROWS, row_groups=[number], columns=[place.leaf], use_threads=False
                )
                for batch in batches:
                    if place.row < first + batch.num_rows:
                        column = batch.column(0)
                        values = column.flatten()[0] if place.leaf != batch.schema.names[0] else column
                        content = values[place.row - first].as_py()
                        if not content or len(content) > most_bytes:
                            raise ValueError("the row has no picture, or one that is too large")
                        return bytes(content)
                    first += batch.num_rows
            first += n_rows
    raise LookupError(place)
