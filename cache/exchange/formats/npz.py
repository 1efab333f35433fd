"""NumPy's .npz: an array a column, which ``numpy.load`` reads without pickles."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cache.aside import write_aside
from cache.exchange.product_table import ProductTable

__all__ = ["write"]

TEXT_ROWS = 1024


def write(path: Path, table: ProductTable) -> None:
    """Write texts as arrays of strings, (N,), and vectors as (N, D) float32, NaN where there is none."""
    write_aside(path, lambda aside: _write(aside, table), folder=path.parent)


def _write(aside: Path, table: ProductTable) -> None:
    with zipfile.ZipFile(aside, "w", allowZip64=True) as archive:
        for name, cells in table.texts.items():
            kind = np.dtype(f"<U{max(1, max(map(len, cells), default=1))}")
            blocks = (np.array(cells[start : start + TEXT_ROWS], kind) for start in range(0, len(cells), TEXT_ROWS))
            _add(archive, name, (len(cells),), kind, blocks, is_packed=True)  # short cells are filled up with zeros
        for pair, dim in table.dims.items():
            _add(archive, table.name_of(pair), (len(table), dim), np.dtype("<f4"), _vectors(table, pair))


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
    entry = zipfile.ZipInfo(name.encode(errors="backslashreplace").decode() + ".npy")
    entry.compress_type = zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED
    with archive.open(entry, "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for block in blocks:
            file.write(block.tobytes())
