"""Contents that no product uses: what they are, and a cache without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.cloud.addresses import resolved
from cache.cloud.mirrored_journal import open_journal
from cache.column_names import PICTURE_KEYS
from cache.errors import CacheError
from cache.journal import Journal
from cache.rebuilding.catalogue import products_of
from cache.rebuilding.rebuild import rebuild
from cache.rebuilding.source import Source
from cache.store import Cache

__all__ = ["Unused", "drop_unused", "find_unused"]


@dataclass(frozen=True)
class Unused:
    """The contents that no product uses, and what they take."""

    counts: dict[str, int]  # by modality
    n_contents: dict[str, int]  # of all
    n_bytes: int  # of their vectors and tokens
    n_unsealed_parts: int  # which are left as they are

    @property
    def n(self) -> int:
        """How many there are, of all modalities."""
        return sum(self.counts.values())


def find_unused(cache_path: str | Path) -> Unused:
    """Return what `drop_unused` would drop; nothing is written.

    Raises:
        CacheError: the cache has no products, or cannot be read.
    """
    with Cache(cache_path) as cache:
        return _unused(cache, _used_keys(cache))


def drop_unused(cache_path: str | Path) -> Unused:
    """Write the cache anew without the contents that no product uses; return what they were.

    Used are the products' contents, the pictures that means are made of, and the samples. Parts that wait beside the
    cache stay as they are: they are of a catalogue that is not sealed yet.

    Raises:
        CacheError: the cache has no products, cannot be read, or is written by another process; or the disk is full.
    """
    cache_path = resolved(cache_path)
    find_unused(cache_path)  # before a journal is made where there is no cache
    with open_journal(cache_path) as journal, Source(journal.cache_path, has_parts=False) as source:
        cache = source.cache
        assert cache is not None  # noqa: S101 - a source without parts is a file
        used = _used_keys(cache)
        unused = _unused(cache, used)
        if unused.n:
            rebuild(journal.cache_path, journal, [source], products_of(cache), wanted=used)
    return unused


def _used_keys(cache: Cache) -> dict[str, set[str]]:
    """Return the keys of the contents that are used, by modality; those of another catalogue are in none."""
    if not len(cache):
        raise CacheError(
            f"Expected {cache.path} to have products, got none, so that all its vectors would go. They were made from "
            "Python, or of an empty catalogue: delete the file if nobody needs them."
        )
    used = {}
    for modality in cache.modalities:
        rows = cache.rows(modality)
        used[modality] = set(cache.keys(modality)[np.unique(rows[rows >= 0])].astype(str).tolist())
        used[modality].update(cache.samples(modality))
    if "image" in used and PICTURE_KEYS in cache.columns():
        used["image"].update(key for cell in cache.column(PICTURE_KEYS) for key in cell.split())
    return used


def _unused(cache: Cache, used: Mapping[str, set[str]]) -> Unused:
    counts, n_contents, n_bytes = {}, {}, 0
    for modality in cache.content_modalities:
        some = used.get(modality, set())
        is_unused = np.array([key not in some for key in cache.keys(modality).astype(str).tolist()], dtype=bool)  # (U,)
        counts[modality], n_contents[modality] = int(is_unused.sum()), len(is_unused)
        for encoder in cache.encoders(modality):
            n_bytes += 4 * cache.dimension(modality, encoder) * counts[modality]
            if cache.has_tokens(modality, encoder):
                n_tokens = int(cache.token_counts(modality, encoder)[is_unused].sum())
                n_bytes += 2 * cache.token_dimension(modality, encoder) * n_tokens
    return Unused(counts, n_contents, n_bytes, len(Journal(cache.path).paths()))
