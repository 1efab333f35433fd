"""Parquet: strings, and vectors as lists, null where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import compute, parquet

from cache.errors import CacheError
from cache.exchange.imported_vectors import ImportedVectors
from cache.exchange.product_table import BLOCK_BYTES, ProductTable
from cache.system.aside import write_aside
from cache.system.reading import reading
from cache.system.stray_bytes import shown_values

__all__ = ["opened", "write", "write_rows"]


def write(path: Path, table: ProductTable) -> None:
    """Write all products to one file."""
    write_rows(path, table, 0, len(table))


def write_rows(path: Path, table: ProductTable, start: int, stop: int) -> None:
    """Write the products from `start` to `stop`, a row group for each block of vectors."""
    write_aside(path, lambda aside: _write(aside, table, start, stop), folder=path.parent)


def _write(aside: Path, table: ProductTable, start: int, stop: int) -> None:
    fields = [pyarrow.field(name, pyarrow.string()) for name in shown_values(list(table.texts))]
    fields += [pyarrow.field(table.name_of(pair), pyarrow.list_(pyarrow.float32())) for pair in table.dims]
    schema = pyarrow.schema(fields)
    with parquet.ParquetWriter(aside, schema) as writer:
        for block_start, block_stop in table.blocks(start, stop):
            arrays = [pyarrow.array(shown_values(cells[block_start:block_stop])) for cells in table.texts.values()]
            for pair, dim in table.dims.items():
                vectors, present = table.vectors(pair, block_start, block_stop)
                arrays.append(_lists(vectors, present, dim))
            writer.write_table(pyarrow.table(arrays, schema=schema))


def _lists(vectors: np.ndarray, present: np.ndarray, dim: int) -> pyarrow.ListArray:
    """Return vectors as lists, null where none is present.

    Lists of a fixed size, of which some are null, are written and read by the latest pyarrow alone.
    """
    ends = np.cumsum(present, dtype=np.int32) * dim
    offsets = np.concatenate([np.zeros(1, dtype=np.int32), ends])
    values = pyarrow.array(vectors[present].ravel())
    return pyarrow.ListArray.from_arrays(pyarrow.array(offsets), values, mask=pyarrow.array(~present))


def opened(path: Path, column: str | None) -> ImportedVectors:
    """Return the vectors in a column of lists of numbers, and the columns of texts and numbers beside it.

    Raises:
        CacheError: the file is no Parquet, has no such column, or several to choose from.
        UnreadableError: the system cannot read it.
    """
    with _parsing(path):
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
    lists = [field.name for field in schema if _is_list(field.type)]
    if column is None and len(lists) == 1:
        column = lists[0]
    if column not in lists:
        raise CacheError(
            f"Expected {path} to have {'one column' if column is None else f'the column {column!r}'} of lists of "
            f"numbers, got {', '.join(lists) or 'none'}. Name one with --vector-column."
        )
    names = [field.name for field in schema if not pyarrow.types.is_nested(field.type) and _is_text(field.type)]
    texts = {}
    with _parsing(path):
        for name in names:
            cells = file.read(columns=[name]).column(0).cast(pyarrow.string()).to_pylist()
            texts[name] = ["" if cell is None else cell for cell in cells]
        dim = _dim(file, str(column))

    def blocks() -> Iterator[np.ndarray]:
        with _parsing(path):
            for batch in file.iter_batches(max(1, BLOCK_BYTES // (4 * max(1, dim))), columns=[column]):
                yield _matrix(batch.column(0), dim, path)

    return ImportedVectors(path, file.metadata.num_rows, dim, blocks, texts, str(column))


def _is_list(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and types.is_floating(kind.value_type)


def _is_text(kind: pyarrow.DataType) -> bool:
    return not (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _dim(file: parquet.ParquetFile, column: str) -> int:
    """Return the length of the first list."""
    for batch in file.iter_batches(1024, columns=[column]):
        array = batch.column(0).drop_null()
        if len(array):
            return len(array[0])
    return 0


def _matrix(array: pyarrow.Array, dim: int, path: Path) -> np.ndarray:
    """Return lists as (n, D), NaN where one is null."""
    vectors = array.drop_null()
    lengths = set(compute.unique(compute.list_value_length(vectors)).to_pylist()) - {dim}
    if lengths:
        raise CacheError(
            f"Expected the vectors of {path} to have {dim} numbers each, as the first has, got one of {min(lengths)}."
        )
    values = vectors.flatten().to_numpy(zero_copy_only=False)
    if len(vectors) == len(array):
        return values.reshape(len(vectors), dim)
    matrix = np.full((len(array), dim), np.nan, dtype=values.dtype)
    matrix[array.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(len(vectors), dim)
    return matrix


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a file that it cannot parse into a `CacheError`."""
    try:
        with reading(path):
            yield
    except FileNotFoundError as error:
        raise CacheError(f"Expected vectors in {path}, but there is no such file. Name another.") from error
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, CacheError):
            raise
        reason = str(error).partition("\n")[0]
        raise CacheError(
            f"Expected {path} to be a whole Parquet file, got one that cannot be read: {reason}"
        ) from error
