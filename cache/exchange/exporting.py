"""Products and their vectors, written for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.exchange.formats.registry import format_of
from cache.exchange.product_table import ProductTable
from cache.sealed.cache import Cache

__all__ = ["ExportReport", "export_vectors"]


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    output_path: Path
    n_products: int
    columns: list[str]  # of texts
    dims: dict[str, int]  # of vectors, by the name of their column


def export_vectors(
    cache_path: str | Path,
    output_path: str | Path,
    *,
    encoders: Sequence[tuple[str, str]] | None = None,
    columns: Sequence[str] | None = None,
) -> ExportReport:
    """Write a row for each product, in the catalogue's order; the suffix of `output_path` names the format.

    `encoders` are pairs of a modality and a name, all by default; `columns` those of the catalogue, all by default.
    Memory is bounded by a block of vectors and the catalogue.

    Raises:
        CacheError: the cache cannot be read, the format is none, or a package that it needs is not installed.
        MissingEntryError: the cache has no such encoder or column.
        OSError: the file cannot be written; what stood there still does.
    """
    output_path = Path(output_path)
    code = format_of(output_path, "export")
    with Cache(cache_path) as cache:
        table = ProductTable(cache, encoders=encoders, columns=columns)
        code.write(output_path, table)
        dims = {table.name_of(pair): dim for pair, dim in table.dims.items()}
        return ExportReport(output_path, len(table), list(table.texts), dims)
