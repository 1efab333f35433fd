"""Products and columns of a cache that the catalogue no longer has."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache import Cache
from cache.arrays.large_arrays import row_blocks
from cache.arrays.string_column import sorted_hashes
from cache.columns.column_names import PICTURE_KEYS
from cache.format.writer import array_digest, encode_strings
from cache.system.reading import facts_of
from embed.catalogue.pictures.pictured_table import PRODUCT_NAMES

__all__ = ["Gone", "find_gone"]

MOST_SHOWN = 5  # columns

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class Gone:
    """What of a cache its catalogue no longer has."""

    n_products: int = 0
    columns: Sequence[str] = ()

    def tell(self, catalogue_path: Path, *, is_part: bool, has_labels: bool) -> None:
        """Note it: `is_part` is whether products were left out on purpose, `has_labels` whether a table was joined."""
        if self.n_products:
            log.info(
                "%d products of the cache are not %s: they left it, and their vectors stay%s.",
                self.n_products,
                f"taken of {catalogue_path}" if is_part else f"in {catalogue_path}",
                " (all come back without --where, --per-class and --sample)" if is_part else "",
            )
        if self.columns:
            log.info(
                "Columns of the cache are not in %s, and leave the cache: %s%s.",
                catalogue_path,
                ", ".join(self.columns[:MOST_SHOWN]) + (", …" if len(self.columns) > MOST_SHOWN else ""),
                "" if has_labels else " (--labels joins those of a second table)",
            )


def find_gone(cache_path: Path, ids: Sequence[str], columns: Collection[str]) -> Gone:
    """Return what of a cache, if there is one, has none of these ids, and which columns are none of these.

    Columns that were added of means, and of pictures with a row each, are none of the catalogue's; nor are the rows of
    a product's further pictures products that it lacks.
    """
    if facts_of(cache_path) is None:
        return Gone()
    with Cache(cache_path) as cache:
        columns_gone = [name for name in cache.columns() if name not in columns and name != PICTURE_KEYS]
        digests = {name: cache.digests.get(f"catalogue/id/{name}") for name in ("offset", "utf8")}
        if digests == {name: array_digest(array) for name, array in encode_strings(ids).items()}:
            return Gone(0, columns_gone)
        products = _products_of_pictures(cache, columns_gone)
        if products is None:
            cached_hashes = sorted_hashes(cache.id_column())
        else:
            cached_hashes = np.unique(sorted_hashes(products))
            columns_gone = [name for name in columns_gone if cache.column(name) not in (products, cache.ids())]
    hashes, n_products = sorted_hashes(ids), 0  # strings would take some hundred bytes each
    for rows in row_blocks(len(cached_hashes)):
        positions = np.searchsorted(hashes, cached_hashes[rows])
        n_products += int((hashes.take(positions, mode="clip") != cached_hashes[rows]).sum())
    return Gone(n_products, columns_gone)


def _products_of_pictures(cache: Cache, columns_gone: Collection[str]) -> list[str] | None:
    """Return each row's product where the pictures of one have a row each in the cache, and no more by now."""
    for name in set(PRODUCT_NAMES) & set(columns_gone):
        products = cache.column(name)
        if all(
            picture_id.removeprefix(product)[:1] in ("", "#") and picture_id.startswith(product)
            for picture_id, product in zip(cache.ids(), products, strict=True)
        ):
            return products
    return None
