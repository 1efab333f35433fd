"""Sealing: the old cache and the journal's parts become one new file, put in place by one rename."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np

from cache.arrays.lazy_table import LazyTable
from cache.arrays.packed_keys import KEY
from cache.errors import CacheError, UnreadableError
from cache.format.layout import CACHE_FORMAT, open_checked
from cache.format.writer import BLOCK_ROWS, Writer, array_digest
from cache.inventory.inventory import Inventory
from cache.inventory.token_table import TokenTable
from cache.inventory.vector_table import VectorTable
from cache.journal.journal import Journal
from cache.sealed.cache import Cache
from cache.sealed.products import Products
from cache.system.aside import PatientFile, write_aside
from cache.system.reading import facts_of
from cache.system.stop_signals import signals_held

__all__ = ["seal"]

Catalogue = dict[str, np.ndarray | LazyTable]  # by path
Tables = dict[tuple[str, str], TokenTable]  # by modality and encoder


def seal(
    cache_path: str | Path, journal: Journal, products: Products | None, *, inventory: Inventory | None = None
) -> bool:
    """Put the journal's parts and the catalogue into the cache; return whether there was anything to write.

    Where `products` is None, the cache keeps the catalogue that it has; a new cache has an empty one. An `inventory` of
    the cache and the journal saves making one; it is brought up to date here, and must not be used afterwards.

    The old file is read and never written. Memory is bounded by a block of `BLOCK_ROWS` vectors or tokens, and the
    keys.

    Raises:
        CacheError: the new file could not be written, for want of space say; the old cache and all parts are kept.
        UnreadableError: the old cache or a part could not be read; likewise.
    """
    cache_path = Path(cache_path)
    if inventory is None:
        inventory = Inventory(cache_path, journal)
    else:
        inventory.update()
    inventory.drop_unused()
    inventory.order(products or Products([], {}, {}))
    catalogue = _kept_catalogue(inventory) if products is None else products.arrays(inventory.keys, inventory.failures)
    if not inventory.part_paths and facts_of(cache_path) is not None and _has_catalogue(cache_path, catalogue):
        return False
    tables = {where: TokenTable(inventory, *where) for where, entry in inventory.entries.items() if entry.token_dim}
    _check_space(inventory, catalogue, tables)
    try:
        write_aside(cache_path, lambda aside: _write(aside, inventory, catalogue, tables), folder=journal.folder)
    except UnreadableError:  # of the old cache or a part
        raise
    except (OSError, RuntimeError) as error:  # h5py reports a failed write as either
        raise CacheError(
            f"The cache {cache_path} could not be written ({error}). Nothing is lost: all vectors are kept in "
            f"{journal.folder}. Fix the cause and type the same line again."
        ) from error
    for path in inventory.part_paths:
        path.unlink()
    if not journal.deliver():
        seal(cache_path, journal, products)
    return True


def _write(aside: Path, inventory: Inventory, catalogue: Catalogue, tables: Tables) -> None:
    with signals_held(), PatientFile(aside) as raw:
        with h5py.File(raw, "w", libver=("v110", "v110")) as file:
            _fill(Writer(file, file_format=CACHE_FORMAT, check=raw.check), inventory, catalogue, tables)
        raw.check()
    open_checked(aside).close()  # never replace a cache by a file that cannot be opened


def _fill(writer: Writer, inventory: Inventory, catalogue: Catalogue, tables: Tables) -> None:
    for path, array in catalogue.items():
        writer.array(path, array)
    for modality, index in inventory.keys.items():
        writer.array(f"{modality}/key", LazyTable(len(index), KEY, index.letters))
        writer.array(f"{modality}/status", inventory.statuses(modality))
    for (modality, encoder), entry in inventory.entries.items():
        where = f"{modality}/{encoder}"
        writer.text(f"{where}/spec", entry.spec.to_json())
        vectors = VectorTable(inventory, modality, encoder)
        writer.array(f"{where}/encoded", vectors.encoded)
        writer.blocks(f"{where}/vector", vectors.shape, np.dtype("f4"), vectors.blocks(BLOCK_ROWS))
        if tokens := tables.get((modality, encoder)):
            writer.array(f"{where}/token_offset", tokens.offsets)
            writer.blocks(f"{where}/token", tokens.shape, np.dtype("f2"), tokens.blocks(BLOCK_ROWS))
    writer.finish()


def _kept_catalogue(inventory: Inventory) -> Catalogue:
    """Return the catalogue's arrays as the sealed cache has them, with the statuses that contents have by now."""
    if facts_of(inventory.cache_path) is None:
        return Products([], {}, {}).arrays({}, {})
    with Cache(inventory.cache_path) as cache:
        paths = [path for path in cache.digests if path.startswith("catalogue/")]
        catalogue: Catalogue = {path: cache.tables.read(path) for path in paths}
        for modality in cache.modalities:
            blocks = inventory.statuses(modality).blocks()
            rows, content_statuses = cache.rows(modality), np.concatenate([*blocks, [b""]])  # the last one is of row -1
            path = f"catalogue/{modality}/status"
            catalogue[path] = np.where(rows < 0, cache.tables.read(path), content_statuses[rows])
    return catalogue


def _has_catalogue(cache_path: Path, catalogue: Catalogue) -> bool:
    with Cache(cache_path) as cache:
        digests = {path: digest for path, digest in cache.digests.items() if path.startswith("catalogue/")}
    return digests == {path: array_digest(array) for path, array in catalogue.items()}


def _check_space(inventory: Inventory, catalogue: Catalogue, tables: Tables) -> None:
    n_bytes = sum(array.nbytes for array in catalogue.values()) + sum(table.n_bytes for table in tables.values())
    n_bytes += sum(80 * len(index) for index in inventory.keys.values())  # 64 of the key, 16 of the status
    n_bytes += sum(4 * entry.dim * len(inventory.keys[modality]) for (modality, _), entry in inventory.entries.items())
    free = shutil.disk_usage(inventory.journal.folder).free
    if free < n_bytes:
        raise CacheError(
            f"Expected {n_bytes / 1e6:.1f} MB of free space beside the cache to seal it, got {free / 1e6:.1f} MB. "
            f"All vectors are kept in {inventory.journal.folder}. Free some space and type the same line again."
        )
