"""Hugging Face datasets on the disk, as ``save_to_disk`` leaves them, and single Arrow files, as tables of text.

A dataset's folder holds ``state.json``, ``dataset_info.json`` and Arrow files; that of a ``DatasetDict`` holds
``dataset_dict.json`` and a folder for each split. Their files are mapped into memory, and a picture that stands in one
as bytes is known by its place in the file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cache.system.reading import names_in, raise_if_refused
from embed.catalogue.bad_lines import BadLines
from embed.catalogue.formats.arrow_cells import ArrowColumns, PictureColumn, reading_arrow
from embed.catalogue.split_names import SPLIT
from embed.catalogue.table import BATCH_ROWS
from embed.contents.file_ranges import FilePart, PlacedCell
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["SavedDataset"]

FILE_MAGIC = b"ARROW1"  # of the file format; the other, the stream, has none
STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"
KIND = "an Arrow file"

log = logging.getLogger("embed_once")


class SavedDataset:
    """The rows of a saved dataset or of one Arrow file; of a ``DatasetDict`` those of all splits, in their order.

    Its column ``split`` says whose they are, unless the dataset has a column of that name. Numbers of a ClassLabel
    become the names that their own file, else their own folder, gives them.

    Raises:
        CatalogueError: a file is not there, not whole or no Arrow file, or the splits have other columns.
    """

    def __init__(self, path: Path, settings: ExtractSettings) -> None:
        self.path = path
        self.bad_lines = BadLines(path)  # there are none
        self.files = _files(path)
        self.has_splits = any(split is not None for split, _ in self.files)
        first_schema = self._schema(self.files[0][1])
        arrow_columns = ArrowColumns.of(first_schema, path, settings, first_values=self._first_values)
        self._columns_of: dict[Path, ArrowColumns] = {}  # the same ones, with each file's names of classes
        for _, file in self.files:
            schema = self._schema(file)
            if schema.names != first_schema.names or schema.types != first_schema.types:
                raise CatalogueError(
                    f"Expected all files of a dataset to have the same columns, but {file} has {_shown(schema)}, and "
                    f"{self.files[0][1]} has {_shown(first_schema)}. Name one of its folders."
                )
            self._columns_of[file] = arrow_columns.of_file(schema, _features(file.parent))
        if SPLIT in arrow_columns.names and self.has_splits:
            log.info("Column split of %s is the dataset's own: it need not say which of the splits a row is in.", path)
            self.has_splits = False
        self.columns = arrow_columns.names + ([SPLIT] if self.has_splits else [])

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows in their order, each column a list of cells.

        Raises:
            CatalogueError: a file is damaged.
        """
        for split, file in self.files:
            row = 0
            arrow_columns = self._columns_of[file]
            picture = arrow_columns.picture
            for batch, whole in self._record_batches(file):
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    piece = batch.slice(start, BATCH_ROWS)
                    cells = arrow_columns.cells(piece)
                    if picture is not None:
                        cells[picture.name] = _pictures(piece, picture, whole, file, row)
                    if self.has_splits:
                        cells[SPLIT] = [split or ""] * piece.num_rows
                    row += piece.num_rows
                    yield cells

    def _schema(self, file: Path) -> Any:
        with reading_arrow(file, KIND), pa.memory_map(str(file)) as source:
            schema = _reader(source, file).schema
            _shown(schema)  # it reads all names, which may be no UTF-8 in a damaged file
            return schema

    def _record_batches(self, file: Path) -> Iterator[tuple[Any, Any]]:
        """Yield a file's record batches and the whole file as a buffer, nothing of which is copied."""
        with reading_arrow(file, KIND), pa.memory_map(str(file)) as source:
            whole = source.read_buffer()
            source.seek(0)
            reader = _reader(source, file)
            if isinstance(reader, pa.RecordBatchFileReader):
                batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
            else:
                if whole.size < 8 or whole.slice(whole.size - 8).to_pybytes() != STREAM_END:
                    raise CatalogueError(
                        f"Expected {file} to be a whole Arrow stream, but its end is missing. Fetch or save it again."
                    )
                batches = iter(reader)
            for batch in batches:
                batch.validate(full=True)  # else a damaged file's offsets lead anywhere
                yield batch, whole

    def _first_values(self, name: str) -> Any:
        for batch, _ in self._record_batches(self.files[0][1]):
            return batch.column(batch.schema.get_field_index(name)).slice(0, 64)
        return pa.array([])


def _shown(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _reader(source: Any, file: Path) -> Any:
    """Return pyarrow's reader of Arrow's file format, or of its stream, as the file begins."""
    with file.open("rb") as raw:
        is_file = raw.read(len(FILE_MAGIC)) == FILE_MAGIC
    return pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)


def _files(path: Path) -> list[tuple[str | None, Path]]:
    """Return the Arrow files below a path, each with its split."""
    if path.is_file():
        return [(None, path)]
    splits = _json(path / "dataset_dict.json").get("splits")
    folders: list[tuple[str | None, Path]] = [(None, path)]
    if isinstance(splits, list):
        folders = [(str(split), path / _plain_name(split, path)) for split in splits]
    files: list[tuple[str | None, Path]] = []
    for split, folder in folders:
        entries = _json(folder / "state.json").get("_data_files")
        if isinstance(entries, list):
            names = [
                _plain_name(entry.get("filename") if isinstance(entry, dict) else entry, folder) for entry in entries
            ]
        else:
            names = [name for name in names_in(folder) if name.endswith(".arrow")]
        files += [(split, folder / name) for name in names]
    if not files:
        raise CatalogueError(
            f"Expected a saved dataset to have Arrow files, but {path} has none. Write it with Dataset.save_to_disk."
        )
    return files


def _features(folder: Path) -> dict[str, Any]:
    """Return what a dataset's folder says of its columns' kinds; nothing where it says none."""
    features = _json(folder / "dataset_info.json").get("features")
    return features if isinstance(features, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, an empty one where there is no such file."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise_if_refused(error, path)
        raise CatalogueError(f"Expected {path} to be a JSON object, but it is not: {error}") from error
    return value if isinstance(value, dict) else {}


def _plain_name(name: object, folder: Path) -> str:
    """Return a name that a dataset says its own files have; it may lead nowhere else."""
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
        raise CatalogueError(f"Expected a dataset's files to lie in its folder, but {folder} names {name!r}.")
    return name


def _pictures(batch: Any, picture: PictureColumn, whole: Any, file: Path, first_row: int) -> list[str]:
    """Return a cell for each picture: its place in the file, its path where there are no bytes, or nothing."""
    column = batch.column(batch.schema.get_field_index(picture.name))
    paths: list[str | None] = [None] * len(column)
    if picture.is_struct:
        names = [child.name for child in column.type.fields]
        children = column.flatten()  # which heeds rows that are null as a whole
        column = children[names.index("bytes")]
        if picture.has_paths:
            paths = children[names.index("path")].to_pylist()
    if not len(column):
        return []
    _, offset_buffer, data = column.buffers()
    width = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    offsets = np.frombuffer(offset_buffer, dtype=width)[column.offset : column.offset + len(column) + 1]  # (N + 1,)
    is_empty = data is None or not data.size
    start = 0 if is_empty else data.address - whole.address
    if not is_empty and not 0 <= start <= whole.size - data.size:
        raise CatalogueError(
            f"Expected pictures in an Arrow file not to be compressed, but those of {file} are. Use Parquet."
        )
    cells: list[str] = []
    for row, (path, has_bytes) in enumerate(zip(paths, column.is_valid().to_pylist(), strict=True)):
        if has_bytes:
            place = FilePart(file, start + int(offsets[row]), int(offsets[row + 1] - offsets[row]))
            cells.append(PlacedCell(path or f"{file.name}#{first_row + row}", place))
        else:
            cells.append(path or "")
    return cells
