"""The products of a cache, and those of several caches as one catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.arrays.key_column import KeyColumn
from cache.errors import CacheError, SpecConflictError
from cache.keys import ContentSpec
from cache.sealed.cache import Cache
from cache.sealed.products import Contents, Products
from cache.sealed.samples import N_SAMPLES, read_samples

__all__ = ["Catalogue", "agreed_or_sorted", "first_seen", "joined_products", "products_of"]

NO_VECTOR_YET = "not_encoded"  # of a product whose cache lacks the modality
MERGING = "Name the cache whose products are right with --catalogue, and extract again what it lacks."


@dataclass(frozen=True)
class Catalogue:
    """Products, and where they are kept."""

    path: Path
    products: Products


def products_of(cache: Cache) -> Products:
    """Return the products of a sealed cache, from which the same catalogue is written.

    Raises:
        DamagedCacheError: a row points nowhere, a sample is not what it says, or ids repeat.
    """
    contents = {}
    for modality in cache.modalities:
        contents[modality] = Contents(
            keys=KeyColumn(cache.key_index(modality), cache.rows(modality)),
            statuses=cache.statuses(modality),
            spec=cache.content_spec(modality),
            samples=read_samples(cache, modality),
        )
    return Products(cache.ids(), {name: cache.column(name) for name in cache.columns()}, contents)


def first_seen(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return all names, each once, in the order of their first mention.

    >>> first_seen([["b", "a"], ["c", "a"]])
    ['b', 'a', 'c']
    """
    return list(dict.fromkeys(name for names in lists for name in names))


def agreed_or_sorted(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return all names: in the lists' order where all lists are the same, else sorted.

    The result does not depend on the order of the lists, nor on which of them are joined first.

    >>> agreed_or_sorted([["b", "a"], ["b", "a"]]), agreed_or_sorted([["b", "a"], ["c"]])
    (['b', 'a'], ['a', 'b', 'c'])
    """
    names = first_seen(lists)
    return names if all(list(other_names) == names for other_names in lists) else sorted(names)


def joined_products(
    catalogues: Sequence[Catalogue],
    *,
    in_order: Callable[[Sequence[Sequence[str]]], list[str]],
    way_out: str = MERGING,
) -> Products:
    """Return the products of all catalogues; a product of several has the cells and contents that any of them has.

    `in_order` returns the catalogues' ids, and the names of their columns, as one list. `way_out` is the sentence of
    errors that says what to do.

    Raises:
        CacheError: a product has other cells or another content in another catalogue, or an id is repeated in one.
        SpecConflictError: contents are made of the columns in another way in another catalogue.
    """
    for catalogue in catalogues:
        if len(set(catalogue.products.ids)) < len(catalogue.products.ids):
            raise CacheError(
                f"Expected products to have ids of their own, but {catalogue.path} repeats some. Leave it out."
            )
    ids = in_order([catalogue.products.ids for catalogue in catalogues])
    row_of_id = {product_id: row for row, product_id in enumerate(ids)}
    rows = [[row_of_id[product_id] for product_id in catalogue.products.ids] for catalogue in catalogues]
    columns = {}
    for name in in_order([list(catalogue.products.columns) for catalogue in catalogues]):
        joined = _JoinedCells(ids, f"column {name}", way_out)
        for catalogue, catalogue_rows in zip(catalogues, rows, strict=True):
            if name in catalogue.products.columns:
                joined.add(catalogue.path, catalogue_rows, catalogue.products.columns[name])
        columns[name] = [cell or "" for cell in joined.cells]
    modalities = sorted({modality for catalogue in catalogues for modality in catalogue.products.contents})
    contents = {modality: _joined_contents(modality, catalogues, rows, ids, way_out) for modality in modalities}
    return Products(ids, columns, contents)


class _JoinedCells:
    """A cell of each product, and the path of the first catalogue that has it."""

    def __init__(self, ids: list[str], subject: str, way_out: str) -> None:
        self.cells: list[str | None] = [None] * len(ids)
        self._paths: list[Path | None] = [None] * len(ids)
        self._ids, self._subject, self._way_out = ids, subject, way_out

    def add(self, path: Path, rows: Sequence[int], cells: Sequence[str]) -> None:
        """Add a catalogue's cells for the products in some rows, where these have none yet.

        Raises:
            CacheError: a product has another cell already.
        """
        differing = [n for n, row in enumerate(rows) if self.cells[row] not in (None, cells[n])]
        if differing:
            row = rows[differing[0]]
            raise CacheError(
                f"Expected a product to be the same in all caches, but {len(differing)} differ between "
                f"{self._paths[row]} and {path}, such as {self._ids[row]!r}: {self._subject} is "
                f"{_shortened(self.cells[row] or '')} and {_shortened(cells[differing[0]])}. {self._way_out}"
            )
        for row, cell in zip(rows, cells, strict=True):
            if self.cells[row] is None:
                self.cells[row], self._paths[row] = cell, path


def _joined_contents(
    modality: str, catalogues: Sequence[Catalogue], rows: Sequence[Sequence[int]], ids: list[str], way_out: str
) -> Contents:
    """Return one modality of the joined products; `rows` are those of each catalogue's products among `ids`."""
    joined = _JoinedCells(ids, f"the content of {modality}", way_out)
    statuses = [NO_VECTOR_YET] * len(ids)
    spec: ContentSpec | None = None
    spec_path = None
    samples: dict[str, bytes] = {}
    for catalogue, catalogue_rows in zip(catalogues, rows, strict=True):
        contents = catalogue.products.contents.get(modality)
        if contents is None:
            continue
        if spec is not None and contents.spec is not None and contents.spec.fingerprint != spec.fingerprint:
            raise SpecConflictError(
                f"Expected {modality} to be made of the catalogue in one way, but it differs between {spec_path} and "
                f"{catalogue.path}: {'; '.join(spec.differences(contents.spec))}. {way_out}"
            )
        if spec is None:
            spec, spec_path = contents.spec, catalogue.path
        samples |= contents.samples
        key_of_row = {row: key for row, key in zip(catalogue_rows, contents.keys, strict=True) if key}
        joined.add(catalogue.path, list(key_of_row), list(key_of_row.values()))
        for row, status in zip(catalogue_rows, contents.statuses, strict=True):
            if status != NO_VECTOR_YET:
                statuses[row] = status if statuses[row] == NO_VECTOR_YET else min(status, statuses[row])
    return Contents(
        keys=[key or "" for key in joined.cells],
        statuses=["ok" if key else status for key, status in zip(joined.cells, statuses, strict=True)],
        spec=spec,
        samples=dict(sorted(samples.items())[:N_SAMPLES]),
    )


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "…")
