"""Several caches as one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from cache.cloud.addresses import resolved
from cache.cloud.local_copies import local_copy
from cache.errors import CacheError
from cache.journal.mirrored_journal import open_journal
from cache.rebuilding.catalogue import Catalogue, agreed_or_sorted, joined_products, products_of
from cache.rebuilding.rebuild import rebuild
from cache.rebuilding.same_encoders import keep_one_name_each
from cache.rebuilding.source import Source
from cache.sealed.cache import Cache
from cache.sealed.products import Products
from cache.system.reading import facts_of

__all__ = ["MergeReport", "merge"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class MergeReport:
    """What a merged cache holds."""

    cache_path: Path
    n_caches: int  # that were read, the one that was there before included
    n_products: int
    n_vectors: dict[str, int]  # by modality/encoder
    was_written: bool  # False where it held all of it before


def merge(
    cache_paths: Sequence[str | Path], output_path: str | Path, *, catalogue_path: str | Path | None = None
) -> MergeReport:
    """Write a cache of all that several caches, and the parts that wait beside them, hold.

    A cache that is at `output_path` is one of them. The same caches give the same cache, whatever their order and
    whichever are merged first. Its products are those of all, in the order of the caches where these have the same
    ones, else sorted by their ids; or those of `catalogue_path` alone. Encoders of one spec have one name in it.

    Raises:
        FileNotFoundError: there is no such cache.
        SpecConflictError: vectors of one name were made in different ways, or contents of one modality were.
        CacheError: a product is another one in another cache, a cache cannot be read, or the disk is full.
    """
    named_path = resolved(output_path)
    cache_paths = [local_copy(path) for path in cache_paths]
    with open_journal(named_path) as journal, ExitStack() as opened:
        output_path = journal.cache_path
        has_old = facts_of(output_path) is not None or bool(journal.paths())
        paths = _distinct_files([*cache_paths, *([output_path] if has_old else [])])
        sources = [opened.enter_context(Source(path)) for path in paths]
        sources.sort(key=lambda source: source.identity)  # so that the order of the paths changes nothing
        keep_one_name_each(sources)
        products = _products(sources, None if catalogue_path is None else local_copy(catalogue_path))
        merged_parts = journal.paths()
        was_written = rebuild(output_path, journal, sources, products)
        for path in merged_parts:
            path.unlink()
    with Cache(output_path) as cache:
        n_vectors = {
            f"{modality}/{encoder}": int(cache.encoded(modality, encoder).sum())
            for modality in cache.content_modalities
            for encoder in cache.encoders(modality)
        }
        return MergeReport(named_path, len(sources), len(cache), n_vectors, was_written)


def _distinct_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the paths, of several to one file only one."""
    return list({Path(path).resolve(): Path(path) for path in paths}.values())


def _products(sources: Sequence[Source], catalogue_path: str | Path | None) -> Products:
    """Return the products of all sources, or of the one at `catalogue_path`."""
    if catalogue_path is not None:
        file_path = Path(catalogue_path).resolve()
        chosen = [source for source in sources if source.path.resolve() == file_path and source.cache is not None]
        if not chosen:
            raise CacheError(
                f"--catalogue: expected one of the caches that are merged, got {catalogue_path}. Name it among them."
            )
    else:
        chosen = [source for source in sources if source.cache is not None]
    catalogues = [Catalogue(source.path, products_of(source.cache)) for source in chosen if source.cache is not None]
    catalogues.sort(key=lambda catalogue: catalogue.path)  # for messages; their order changes nothing else
    filled = [catalogue for catalogue in catalogues if catalogue.products.ids]  # without caches made from Python
    _warn_of_row_numbers(filled)
    return joined_products(filled or catalogues, in_order=agreed_or_sorted)


def _warn_of_row_numbers(catalogues: Sequence[Catalogue]) -> None:
    """Warn where products are joined by the numbers of their rows alone, as those of catalogues without ids are."""
    numbered = [
        catalogue
        for catalogue in catalogues
        if all(product_id == str(row) for row, product_id in enumerate(catalogue.products.ids))
    ]
    for first, second in combinations(numbered, 2):
        if not first.products.columns.keys() & second.products.columns.keys():
            log.warning(
                "The ids of %s (%d products) and %s (%d) are the numbers of their rows, and they share no column: rows "
                "of one number are taken for one product. If they are not, give both catalogues a column of ids "
                "(--id-column), and extract them again: no content is encoded anew.",
                first.path, len(first.products.ids), second.path, len(second.products.ids),
            )  # fmt: skip
