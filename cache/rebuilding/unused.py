"""Contents that no product uses: what they are, and a cache without them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.arrays.key_index import KEY_LETTERS, KeyIndex
from cache.cloud.addresses import resolved
from cache.cloud.local_copies import local_copy
from cache.columns.column_names import PICTURE_KEYS
from cache.errors import CacheError
from cache.journal.journal import Journal
from cache.journal.mirrored_journal import open_journal
from cache.rebuilding.catalogue import products_of
from cache.rebuilding.rebuild import rebuild
from cache.rebuilding.source import Source
from cache.rebuilding.unused_since import days_unused
from cache.sealed.cache import Cache

__all__ = ["Unused", "drop_unused", "find_unused"]


@dataclass(frozen=True)
class Unused:
    """The contents that no product uses, and what they take."""

    counts: dict[str, int]  # by modality, without those that are kept
    n_kept: int  # unused contents that are kept, as they are not unused for long enough
    n_contents: dict[str, int]  # all contents, by modality
    n_bytes: int  # of the vectors and tokens of those that are counted
    n_unsealed_parts: int  # which are left as they are

    @property
    def n(self) -> int:
        """How many there are, of all modalities."""
        return sum(self.counts.values())


def find_unused(cache_path: str | Path, *, keep_days: int = 0) -> Unused:
    """Return what `drop_unused` would drop; the cache is not changed.

    Raises:
        CacheError: the cache has no products, or cannot be read.
    """
    with Cache(cache_path) as cache:
        return _dropped_and_kept(cache, _used_keys(cache), keep_days, noted_beside=cache.path)[0]


def drop_unused(cache_path: str | Path, *, keep_days: int = 0) -> Unused:
    """Write the cache anew without the contents that no product uses; return what they were.

    The products' contents, the pictures that means are made of, and the samples are used. With `keep_days` an unused
    content is kept until an earlier call, at least so many days ago, has found it unused
    (`cache.rebuilding.unused_since`). Parts that wait beside the cache stay: they are of a catalogue that is not sealed
    yet.

    Raises:
        CacheError: the cache has no products, cannot be read, or is written by another process; or the disk is full.
    """
    cache_path = resolved(cache_path)
    find_unused(cache_path)  # before a journal is made where there is no cache
    with open_journal(cache_path) as journal, Source(journal.cache_path, has_parts=False) as source:
        cache = source.cache
        assert cache is not None  # noqa: S101 - a source without parts is a file
        unused, kept_keys = _dropped_and_kept(cache, _used_keys(cache), keep_days, noted_beside=local_copy(cache_path))
        if unused.n:
            rebuild(journal.cache_path, journal, [source], products_of(cache), kept_keys=kept_keys)
    return unused


def _used_keys(cache: Cache) -> dict[str, KeyIndex]:
    """Return the keys of the contents that are used, for each modality of the catalogue."""
    if not len(cache):
        raise CacheError(
            f"Expected {cache.path} to have products, got none, so that all its vectors would go. They were made from "
            "Python, or of an empty catalogue: delete the file if nobody needs them."
        )
    used = {}
    for modality in cache.modalities:
        rows = cache.rows(modality)
        used[modality] = KeyIndex(cache.keys(modality)[np.unique(rows[rows >= 0])])
        used[modality].add(cache.samples(modality))
    if "image" in used and PICTURE_KEYS in cache.columns():  # which may be a column of the catalogue's own
        words = {word for cell in cache.column(PICTURE_KEYS) for word in cell.split()}
        used["image"].add(sorted(word for word in words if len(word) <= KEY_LETTERS and word.isascii()))
    return used


def _dropped_and_kept(
    cache: Cache, used: dict[str, KeyIndex], keep_days: int, *, noted_beside: Path
) -> tuple[Unused, dict[str, KeyIndex]]:
    """Return what is to be dropped, and the keys that are kept, by modality.

    The day since when a content is unused is noted beside the path `noted_beside`.
    """
    keys = {modality: cache.keys(modality) for modality in cache.content_modalities}  # (U,) each
    is_dropped = {
        modality: ~used.get(modality, KeyIndex()).has(content_keys) for modality, content_keys in keys.items()
    }
    kept_keys, n_kept = dict(used), 0
    if keep_days:
        unused = {modality: content_keys[is_dropped[modality]] for modality, content_keys in keys.items()}
        for modality, days in days_unused(noted_beside, unused, today=datetime.date.today().toordinal()).items():
            recent = unused[modality][days < keep_days]
            is_dropped[modality][is_dropped[modality]] = days >= keep_days
            if len(recent):
                kept_keys.setdefault(modality, KeyIndex()).add(recent)
                n_kept += len(recent)
    n_bytes = sum(
        _n_bytes(cache, modality, encoder, is_chosen)
        for modality, is_chosen in is_dropped.items()
        for encoder in cache.encoders(modality)
    )
    counts = {modality: int(is_chosen.sum()) for modality, is_chosen in is_dropped.items()}
    n_contents = {modality: len(content_keys) for modality, content_keys in keys.items()}
    return Unused(counts, n_kept, n_contents, n_bytes, len(Journal(cache.path).paths())), kept_keys


def _n_bytes(cache: Cache, modality: str, encoder: str, is_chosen: np.ndarray) -> int:
    """Return what the vectors and tokens of some contents take."""
    n_bytes = 4 * cache.dimension(modality, encoder) * int(is_chosen.sum())
    if cache.has_tokens(modality, encoder):
        n_tokens = int(cache.token_counts(modality, encoder)[is_chosen].sum())
        n_bytes += 2 * cache.token_dimension(modality, encoder) * n_tokens
    return n_bytes
