"""NumPy's .npz: an array a column, which ``numpy.load`` reads without pickles."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cache.errors import CacheError
from cache.exchange.product_table import ProductTable
from cache.system.aside import write_aside

__all__ = ["write"]

BLOCK_LETTERS = 1 << 22  # of padded cells that are written at once, or one cell
MOST_BYTES = 1 << 32  # of a column in memory; more are refused if they are `MOST_TIMES` the bytes of the texts
MOST_TIMES = 10


def write(path: Path, table: ProductTable) -> None:
    """Write texts as arrays of strings, (N,), and vectors as (N, D) float32, NaN where there is none.

    Raises:
        CacheError: one long cell would make a column larger than memory.
    """
    for name, cells in table.texts.items():
        _check_widths(name, cells)
    write_aside(path, lambda aside: _write(aside, table), folder=path.parent)


def _write(aside: Path, table: ProductTable) -> None:
    with zipfile.ZipFile(aside, "w", allowZip64=True) as archive:
        for name, cells in table.texts.items():
            width = max(1, max(map(len, cells), default=1))
            kind, n_rows = np.dtype(f"<U{width}"), max(1, BLOCK_LETTERS // width)
            blocks = (np.array(cells[start : start + n_rows], kind) for start in range(0, len(cells), n_rows))
            _add(archive, name, (len(cells),), kind, blocks, is_packed=True)  # padding compresses to nearly nothing
        for pair, dim in table.dims.items():
            _add(archive, table.name_of(pair), (len(table), dim), np.dtype("<f4"), _vectors(table, pair))


def _check_widths(name: str, cells: Sequence[str]) -> None:
    """Check that a column takes no memory out of proportion: an array of strings pads all of them to the longest."""
    widths = list(map(len, cells))
    width = max(widths, default=0)
    n_bytes = 4 * width * len(cells)
    if n_bytes > max(MOST_BYTES, MOST_TIMES * 4 * sum(widths)):
        raise CacheError(
            f"Expected cells of about one length in .npz, where all are as wide as the longest, but {name} has one of "
            f"{width:,} letters (row {widths.index(width) + 1}) and would take {n_bytes / 1e9:.1f} GB of memory. Leave "
            "it out with --columns, or write .parquet."
        )


def _vectors(table: ProductTable, pair: tuple[str, str]) -> Iterator[np.ndarray]:
    for start, stop in table.blocks():
        yield table.vectors(pair, start, stop)[0]


def _add(
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    kind: np.dtype,
    blocks: Iterable[np.ndarray],
    *,
    is_packed: bool = False,
) -> None:
    """Add an array to the archive, from blocks of its rows; `is_packed` compresses it."""
    entry = zipfile.ZipInfo(name.encode(errors="backslashreplace").decode() + ".npy")
    entry.compress_type = zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED
    with archive.open(entry, "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for block in blocks:
            file.write(block.tobytes())
