"""Vectors that another program made, put into a cache as those of an encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.cloud.addresses import resolved
from cache.errors import CacheError, SpecConflictError
from cache.exchange.formats.registry import format_of
from cache.exchange.given_products import GivenProducts
from cache.exchange.given_vectors import GivenVectors
from cache.exchange.import_settings import ImportSettings
from cache.inventory.inventory import Entry, Inventory
from cache.inventory.sealing import seal
from cache.inventory.vectors_by_key import VectorsByKey
from cache.journal.journal import Journal
from cache.journal.mirrored_journal import open_journal
from cache.journal.part import Part
from cache.keys import EncoderSpec
from cache.rebuilding.catalogue import Catalogue, first_seen, joined_products, products_of
from cache.sealed.store import Cache
from cache.system.reading import facts_of

__all__ = ["ImportReport", "import_vectors"]

TOLERANCE = 1e-2  # of the largest number: what half precision and another machine change


@dataclass(frozen=True)
class ImportReport:
    """What the cache has by now."""

    cache_path: Path
    encoder: str  # modality/name
    n_rows: int  # that were given
    n_vectors: int  # of them
    n_new: int  # contents that had none before
    n_products: int  # of the cache


def import_vectors(vectors_path: str | Path, cache_path: str | Path, settings: ImportSettings) -> ImportReport:
    """Put given vectors into a cache, a new one or one that is there, as those of an encoder; report on it.

    A product's content has the key that the column ``<modality>/key`` says, or the one that the cache has for its id,
    or one made of its id. Products that the cache lacks are added to it. Nothing is written unless all is sound.
    Memory is bounded by a block of vectors, the keys and the catalogue.

    Raises:
        SettingError: it is not told what the vectors are of, or what made them.
        SpecConflictError: the cache has vectors of this name that were made in another way.
        CacheError: the file cannot be read, a vector is not finite, is another one than the cache has of this
            content, or a product differs.
    """
    vectors_path, named_path = Path(vectors_path), resolved(cache_path)
    vectors = format_of(vectors_path, "import").opened(vectors_path, settings.vector_column)
    name, spec = settings.encoder(vectors.column)
    given = GivenProducts.read(vectors, spec.modality, ids_path=settings.ids_path, id_column=settings.id_column)
    Part(name, spec, [], np.zeros((0, 0), dtype=np.float32), {})  # which refuses names that cannot be
    with open_journal(named_path) as journal:
        cache_path, catalogues = journal.cache_path, []
        if facts_of(cache_path) is not None:
            with Cache(cache_path) as cache:
                catalogues.append(Catalogue(cache_path, products_of(cache)))
        for each in catalogues:
            given.take_keys(each.products)
        entry = _entry(Inventory(cache_path, journal), name, spec, vectors)
        has_vector = _check(vectors, given, VectorsByKey(cache_path, name, spec))
        mine = Catalogue(vectors_path, given.products(has_vector))
        products = joined_products(
            [*catalogues, mine], in_order=first_seen, way_out="Import into another cache with -o."
        )
        n_new = _publish(journal, entry, name, vectors, given, mine)
        seal(cache_path, journal, products)
    return ImportReport(
        named_path, f"{spec.modality}/{name}", len(has_vector), int(has_vector.sum()), n_new, len(products.ids)
    )


def _entry(inventory: Inventory, name: str, spec: EncoderSpec, vectors: GivenVectors) -> Entry:
    """Return what the cache has under the name, an empty entry where there is nothing."""
    entry = inventory.entries.get((spec.modality, name), Entry(spec))
    if entry.spec.fingerprint != spec.fingerprint:
        raise SpecConflictError(
            f"Expected {spec.modality}/{name} to be made in one way, but {inventory.cache_path} has it with "
            f"{'; '.join(entry.spec.differences(spec))}. Import it under another --name, or mend --spec."
        )
    if entry.token_dim or entry.dim not in (0, vectors.dim):
        what = "tokens beside its vectors" if entry.token_dim else f"vectors of {entry.dim} numbers"
        raise CacheError(
            f"Expected vectors as {spec.modality}/{name} has them, but it has {what}, and those of {vectors.path} have "
            f"{vectors.dim} and no tokens. Import them under another --name."
        )
    return entry


def _rows(vectors: GivenVectors) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of a block's first row, and the block as (B, D) float32; a row of NaN alone is no vector.

    Raises:
        CacheError: a number is not finite.
    """
    start = 0
    for given in vectors.blocks():
        with np.errstate(over="ignore"):
            block = given.astype(np.float32, copy=False)
        bad = ~np.isfinite(block).all(axis=1) & ~np.isnan(block).all(axis=1)
        if bad.any():
            raise CacheError(
                f"Expected finite float32 vectors, or rows of NaN alone for products without any, but row "
                f"{start + int(np.argmax(bad)) + 1} of {vectors.path} has NaN, infinity or too large numbers. Mend it."
            )
        yield start, block
        start += len(block)


def _check(vectors: GivenVectors, given: GivenProducts, known: VectorsByKey) -> np.ndarray:
    """Return which rows have a vector, (N,) bool.

    Raises:
        CacheError: a content has two vectors: two rows of it, or a row and the cache.
    """
    has_vector = np.zeros(vectors.n_rows, dtype=bool)
    repeated = {key for key, n in Counter(given.keys).items() if n > 1 and key}
    seen: dict[str, tuple[int, bytes]] = {}  # of contents that several products have
    for start, block in _rows(vectors):
        has = ~np.isnan(block).all(axis=1) if block.shape[1] else np.zeros(len(block), dtype=bool)
        has_vector[start : start + len(block)] = has
        keys = [key if one else "" for key, one in zip(given.keys[start : start + len(block)], has, strict=True)]
        for n in [n for n, key in enumerate(keys) if key in repeated]:
            first, content = seen.setdefault(keys[n], (start + n, block[n].tobytes()))
            if content != block[n].tobytes():
                raise CacheError(
                    f"Expected products of one content to have one vector, but {given.ids[first]!r} and "
                    f"{given.ids[start + n]!r} have the same key and different vectors. Mend their keys."
                )
        old, is_known, _ = known.find(keys)
        if is_known.any():
            most = np.abs(old[is_known]).max(axis=1) * TOLERANCE
            differs = np.abs(old[is_known] - block[is_known]).max(axis=1) > most
            if differs.any():
                row = start + int(np.flatnonzero(is_known)[np.argmax(differs)])
                raise CacheError(
                    f"Expected the vectors that {known.cache_path} has under this name and spec, but that of "
                    f"{given.ids[row]!r} is another one. If they were made otherwise, say how with --spec, and import "
                    "them under another --name."
                )
    return has_vector


def _publish(
    journal: Journal, entry: Entry, name: str, vectors: GivenVectors, given: GivenProducts, mine: Catalogue
) -> int:
    """Publish what the cache lacks; return of how many contents."""
    contents = mine.products.contents[entry.spec.modality]
    failures = given.failures(contents.keys)
    published: set[str] = set()
    n_new = 0
    for start, block in _rows(vectors):
        keys = contents.keys[start : start + len(block)]
        has = ~np.isnan(block).all(axis=1) if block.shape[1] else np.zeros(len(block), dtype=bool)
        is_new = has & ~entry.keys.has(keys)
        first = {key: n for n, key in reversed(list(enumerate(keys))) if key and is_new[n] and key not in published}
        rows = list(first.values())
        if rows or failures:
            journal.publish(Part(name, entry.spec, list(first), block[rows], failures))
        published.update(first)
        n_new += len(rows)
        failures = {}
    return n_new
