"""A folder that Hugging Face's ``datasets.load_dataset`` reads: Parquet files of the split ``train``."""

from __future__ import annotations

from pathlib import Path

from cache.errors import CacheError
from cache.exchange.formats.parquet import write_rows
from cache.exchange.product_table import ProductTable
from cache.system.reading import names_in

__all__ = ["write"]

FILE_BYTES = 2**29  # of vectors in one file, as the hub has them


def write(path: Path, table: ProductTable) -> None:
    """Write ``data/train-00000-of-00001.parquet`` and so on.

    Raises:
        CacheError: there is something in the folder.
    """
    if names_in(path) or path.is_file():
        raise CacheError(
            f"Expected the folder {path} to be new or empty, so that nothing else is read with it, got one with files. "
            "Name another with -o, or one that ends in .parquet or .npz for a file."
        )
    (path / "data").mkdir(parents=True, exist_ok=True)
    n_rows = max(1, FILE_BYTES // (4 * sum(table.dims.values())))
    starts = range(0, max(1, len(table)), n_rows)
    for number, start in enumerate(starts):
        name = f"train-{number:05}-of-{len(starts):05}.parquet"
        write_rows(path / "data" / name, table, start, min(start + n_rows, len(table)))
