"""The products of a cache, and those of several caches as one catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.arrays.key_column import KeyColumn
from cache.errors import CacheError, SpecConflictError
from cache.keys import ContentSpec
from cache.sealed.products import Contents, Products
from cache.sealed.samples import N_SAMPLES, read_samples
from cache.sealed.store import Cache

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
    """Return all names, each where it stands first.

    >>> first_seen([["b", "a"], ["c", "a"]])
    ['b', 'a', 'c']
    """
    return list(dict.fromkeys(name for names in lists for name in names))


def agreed_or_sorted(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return all names: in the order that the lists have, where they are the same, else sorted.

    Whatever the order of the lists, and whichever of them are put together first, the answer is the same.

    >>> agreed_or_sorted([["b", "a"], ["b", "a"]]), agreed_or_sorted([["b", "a"], ["c"]])
    (['b', 'a'], ['a', 'b', 'c'])
    """
    names = first_seen(lists)
    return names if all(list(some) == names for some in lists) else sorted(names)


def joined_products(
    catalogues: Sequence[Catalogue],
    *,
    in_order: Callable[[Sequence[Sequence[str]]], list[str]],
    way_out: str = MERGING,
) -> Products:
    """Return the products of all catalogues; `in_order` puts their ids in order, and the names of columns.

    `way_out` says what to do where they differ.

    A product that is in several has the cells and contents that any of them has.

    Raises:
        CacheError: a product has other cells or another content in another catalogue, or an id is repeated in one.
        SpecConflictError: contents are made of the columns in another way in another catalogue.
    """
    for each in catalogues:
        if len(set(each.products.ids)) < len(each.products.ids):
            raise CacheError(f"Expected products to have ids of their own, but {each.path} repeats some. Leave it out.")
    ids = in_order([each.products.ids for each in catalogues])
    row_of = {one: row for row, one in enumerate(ids)}
    rows = [[row_of[one] for one in each.products.ids] for each in catalogues]
    columns = {}
    for name in in_order([list(each.products.columns) for each in catalogues]):
        joined = _Joined(ids, f"column {name}", way_out)
        for each, places in zip(catalogues, rows, strict=True):
            if name in each.products.columns:
                joined.add(each.path, places, each.products.columns[name])
        columns[name] = [cell or "" for cell in joined.cells]
    modalities = sorted({modality for each in catalogues for modality in each.products.contents})
    contents = {modality: _joined_contents(modality, catalogues, rows, ids, way_out) for modality in modalities}
    return Products(ids, columns, contents)


class _Joined:
    """A cell of each product, and the first catalogue that has it."""

    def __init__(self, ids: list[str], what: str, way_out: str) -> None:
        self.cells: list[str | None] = [None] * len(ids)
        self._paths: list[Path | None] = [None] * len(ids)
        self._ids, self._what, self._way_out = ids, what, way_out

    def add(self, path: Path, rows: Sequence[int], cells: Sequence[str]) -> None:
        """Take a catalogue's cells where there is none yet.

        Raises:
            CacheError: a product has another one.
        """
        differing = [n for n, row in enumerate(rows) if self.cells[row] not in (None, cells[n])]
        if differing:
            row = rows[differing[0]]
            raise CacheError(
                f"Expected a product to be the same in all caches, but {len(differing)} differ between "
                f"{self._paths[row]} and {path}, such as {self._ids[row]!r}: {self._what} is "
                f"{_shortened(self.cells[row] or '')} and {_shortened(cells[differing[0]])}. {self._way_out}"
            )
        for row, cell in zip(rows, cells, strict=True):
            if self.cells[row] is None:
                self.cells[row], self._paths[row] = cell, path


def _joined_contents(
    modality: str, catalogues: Sequence[Catalogue], rows: Sequence[Sequence[int]], ids: list[str], way_out: str
) -> Contents:
    joined = _Joined(ids, f"the content of {modality}", way_out)
    statuses = [NO_VECTOR_YET] * len(ids)
    spec: ContentSpec | None = None
    spec_path = None
    samples: dict[str, bytes] = {}
    for each, places in zip(catalogues, rows, strict=True):
        contents = each.products.contents.get(modality)
        if contents is None:
            continue
        if spec is not None and contents.spec is not None and contents.spec.fingerprint != spec.fingerprint:
            raise SpecConflictError(
                f"Expected {modality} to be made of the catalogue in one way, but it differs between {spec_path} and "
                f"{each.path}: {'; '.join(spec.differences(contents.spec))}. {way_out}"
            )
        if spec is None:
            spec, spec_path = contents.spec, each.path
        samples |= contents.samples
        has = {n: key for n, key in enumerate(contents.keys) if key}
        joined.add(each.path, [places[n] for n in has], list(has.values()))
        for row, status in zip(places, contents.statuses, strict=True):
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
