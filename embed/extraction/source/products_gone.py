"""Products and columns of a cache that the catalogue no longer has."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from cache import Cache
from cache.arrays.large_arrays import row_blocks
from cache.arrays.string_column import sorted_hashes
from cache.columns.column_names import PICTURE_KEYS
from cache.format.writer import array_digest, encode_strings
from cache.system.reading import facts_of

__all__ = ["columns_gone", "count_products_gone", "tell_columns_gone", "tell_products_gone"]

MOST_SHOWN = 5  # columns

log = logging.getLogger("embed_once")


def count_products_gone(cache_path: Path, ids: Sequence[str]) -> int:
    """Return how many products of a cache, if there is one, have none of these ids."""
    if facts_of(cache_path) is None:
        return 0
    with Cache(cache_path) as cache:
        digests = {name: cache.digests.get(f"catalogue/id/{name}") for name in ("offset", "utf8")}
        if digests == {name: array_digest(array) for name, array in encode_strings(ids).items()}:
            return 0
        cached_hashes = sorted_hashes(cache.id_column())
    hashes, n_gone = sorted_hashes(ids), 0  # strings would take some hundred bytes each
    for rows in row_blocks(len(cached_hashes)):
        positions = np.searchsorted(hashes, cached_hashes[rows])
        n_gone += int((hashes.take(positions, mode="clip") != cached_hashes[rows]).sum())
    return n_gone


def columns_gone(cache_path: Path, columns: Collection[str]) -> list[str]:
    """Return the columns of a cache, if there is one, that are none of these; what was added of means is left out."""
    if facts_of(cache_path) is None:
        return []
    with Cache(cache_path) as cache:
        return [name for name in cache.columns() if name not in columns and name != PICTURE_KEYS]


def tell_columns_gone(columns: Sequence[str], catalogue_path: Path, *, has_labels: bool) -> None:
    """Note which columns are gone; `has_labels` is whether a second table was joined."""
    if columns:
        log.info(
            "Columns of the cache are not in %s, and leave the cache: %s%s.",
            catalogue_path,
            ", ".join(columns[:MOST_SHOWN]) + (", …" if len(columns) > MOST_SHOWN else ""),
            "" if has_labels else " (--labels joins those of a second table)",
        )


def tell_products_gone(n_gone: int, catalogue_path: Path, *, is_part: bool) -> None:
    """Note how many products are gone; `is_part` is whether products of the catalogue were left out on purpose."""
    if n_gone:
        log.info(
            "%d products of the cache are not %s: they left it, and their vectors stay%s.",
            n_gone,
            f"taken of {catalogue_path}" if is_part else f"in {catalogue_path}",
            " (all come back without --where, --per-class and --sample)" if is_part else "",
        )
