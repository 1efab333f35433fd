"""Vectors that another program made, put into a cache as those of an encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.cloud.addresses import resolved
from cache.errors import CacheError, SpecConflictError
from cache.exchange.formats.registry import format_of
from cache.exchange.import_settings import ImportSettings
from cache.exchange.imported_products import ImportedProducts
from cache.exchange.imported_vectors import ImportedVectors
from cache.inventory.inventory import Entry, Inventory
from cache.inventory.sealing import seal
from cache.inventory.vectors_by_key import VectorsByKey
from cache.journal.journal import Journal
from cache.journal.mirrored_journal import open_journal
from cache.journal.part import Part
from cache.keys import EncoderSpec
from cache.rebuilding.catalogue import Catalogue, first_seen, joined_products, products_of
from cache.sealed.cache import Cache
from cache.system.reading import facts_of

__all__ = ["ImportReport", "import_vectors"]

TOLERANCE = 1e-2  # of the largest number: what half precision and another machine change


@dataclass(frozen=True)
class ImportReport:
    """What was imported, and how many products the cache has by now."""

    cache_path: Path
    encoder: str  # modality/name
    n_rows: int  # of the file
    n_vectors: int  # of the file
    n_new: int  # vectors of contents that had none before
    n_products: int  # of the cache


def import_vectors(vectors_path: str | Path, cache_path: str | Path, settings: ImportSettings) -> ImportReport:
    """Put vectors into a cache, a new or an existing one, as those of an encoder; return a report.

    A product's content has the key that the column ``<modality>/key`` says, or the one that the cache has for its id,
    or one made of its id. Products that the cache lacks are added to it. Nothing is written unless all is sound.
    Memory is bounded by a block of vectors, the keys and the catalogue.

    Raises:
        SettingError: the settings do not say what the vectors are of, or what made them.
        SpecConflictError: the cache has vectors of this name that were made in another way.
        CacheError: the file cannot be read, a vector is not finite, is another one than the cache has of this
            content, or a product differs.
    """
    vectors_path, named_path = Path(vectors_path), resolved(cache_path)
    vectors = format_of(vectors_path, "import").opened(vectors_path, settings.vector_column)
    name, spec = settings.encoder(vectors.column)
    imported = ImportedProducts.read(vectors, spec.modality, ids_path=settings.ids_path, id_column=settings.id_column)
    Part(name, spec, [], np.zeros((0, 0), dtype=np.float32), {})  # it refuses names that are not allowed
    with open_journal(named_path) as journal:
        cache_path, catalogues = journal.cache_path, []
        if facts_of(cache_path) is not None:
            with Cache(cache_path) as cache:
                catalogues.append(Catalogue(cache_path, products_of(cache)))
            imported.take_keys(catalogues[0].products)
        entry = _entry(Inventory(cache_path, journal), name, spec, vectors)
        has_vector = _check(vectors, imported, VectorsByKey(cache_path, name, spec))
        imported_catalogue = Catalogue(vectors_path, imported.products(has_vector))
        products = joined_products(
            [*catalogues, imported_catalogue], in_order=first_seen, way_out="Import into another cache with -o."
        )
        keys = imported_catalogue.products.contents[spec.modality].keys
        n_new = _publish(journal, entry, name, vectors, keys, imported.failures(keys))
        seal(cache_path, journal, products)
    return ImportReport(
        named_path, f"{spec.modality}/{name}", len(has_vector), int(has_vector.sum()), n_new, len(products.ids)
    )


def _entry(inventory: Inventory, name: str, spec: EncoderSpec, vectors: ImportedVectors) -> Entry:
    """Return what the cache has under the name, an empty entry where there is nothing."""
    entry = inventory.entries.get((spec.modality, name), Entry(spec))
    if entry.spec.fingerprint != spec.fingerprint:
        raise SpecConflictError(
            f"Expected {spec.modality}/{name} to be made in one way, but {inventory.cache_path} has it with "
            f"{'; '.join(entry.spec.differences(spec))}. Import it under another --name, or mend --spec."
        )
    if entry.token_dim or entry.dim not in (0, vectors.dim):
        existing = "tokens beside its vectors" if entry.token_dim else f"vectors of {entry.dim} numbers"
        raise CacheError(
            f"Expected vectors as {spec.modality}/{name} has them, but it has {existing}, and those of {vectors.path} "
            f"have {vectors.dim} and no tokens. Import them under another --name."
        )
    return entry


def _blocks(vectors: ImportedVectors) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the number of each block's first row, the block, and which of its rows are vectors: not NaN alone.

    Shape:
        output: int, (B, D) float32, (B,) bool

    Raises:
        CacheError: a number is not finite.
    """
    start = 0
    for values in vectors.blocks():
        with np.errstate(over="ignore"):
            block = values.astype(np.float32, copy=False)
        is_finite = np.isfinite(block).all(axis=1)
        is_bad = ~is_finite & ~np.isnan(block).all(axis=1)
        if is_bad.any():
            raise CacheError(
                f"Expected finite float32 vectors, or rows of NaN alone for products without any, but row "
                f"{start + int(np.argmax(is_bad)) + 1} of {vectors.path} has NaN, infinity or too large numbers. "
                "Mend it."
            )
        yield start, block, is_finite & (block.shape[1] > 0)
        start += len(block)


def _check(vectors: ImportedVectors, imported: ImportedProducts, cached: VectorsByKey) -> np.ndarray:
    """Return which rows have a vector, (N,) bool.

    Raises:
        CacheError: a content has two vectors: two rows of it, or a row and the cache.
    """
    has_vector = np.zeros(vectors.n_rows, dtype=bool)
    repeated_keys = {key for key, n in Counter(imported.keys).items() if n > 1 and key}
    first_rows: dict[str, tuple[int, bytes]] = {}  # repeated key -> its first row, and the vector there
    for start, block, is_vector in _blocks(vectors):
        stop = start + len(block)
        has_vector[start:stop] = is_vector
        keys = [key if has else "" for key, has in zip(imported.keys[start:stop], is_vector, strict=True)]
        for n, key in enumerate(keys):
            if key not in repeated_keys:
                continue
            first_row, content = first_rows.setdefault(key, (start + n, block[n].tobytes()))
            if content != block[n].tobytes():
                raise CacheError(
                    f"Expected products of one content to have one vector, but {imported.ids[first_row]!r} and "
                    f"{imported.ids[start + n]!r} have the same key and different vectors. Mend their keys."
                )
        _check_unchanged(block, keys, imported.ids[start:stop], cached)
    return has_vector


def _check_unchanged(block: np.ndarray, keys: Sequence[str], ids: Sequence[str], cached: VectorsByKey) -> None:
    """Check that vectors are those that the cache has of the same keys, but for `TOLERANCE`.

    Raises:
        CacheError: one is another.
    """
    cached_vectors, is_cached, _ = cached.find(keys)
    if not is_cached.any():
        return
    cached_vectors, new_vectors = cached_vectors[is_cached], block[is_cached]
    tolerances = np.abs(cached_vectors).max(axis=1) * TOLERANCE
    differs = np.abs(cached_vectors - new_vectors).max(axis=1) > tolerances
    if differs.any():
        row = int(np.flatnonzero(is_cached)[np.argmax(differs)])
        raise CacheError(
            f"Expected the vectors that {cached.cache_path} has under this name and spec, but that of {ids[row]!r} is "
            "another one. If they were made otherwise, say how with --spec, and import them under another --name."
        )


def _publish(
    journal: Journal,
    entry: Entry,
    name: str,
    vectors: ImportedVectors,
    keys: Sequence[str],
    failures: dict[str, str],
) -> int:
    """Publish the vectors and failures that the cache lacks; return the number of new vectors.

    `keys` are those of all rows.
    """
    published: set[str] = set()
    for start, block, is_vector in _blocks(vectors):
        block_keys = keys[start : start + len(block)]
        is_new = is_vector & ~entry.keys.has(block_keys)
        new_rows: dict[str, int] = {}  # key -> its first row
        for row, key in enumerate(block_keys):
            if key and is_new[row] and key not in published:
                new_rows.setdefault(key, row)
        if new_rows or failures:
            journal.publish(Part(name, entry.spec, list(new_rows), block[list(new_rows.values())], failures))
        published.update(new_rows)
        failures = {}
    return len(published)
