"""A few contents of a catalogue as they are, on which an encoder can be tried again: it must give their vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

import numpy as np

from cache.arrays.key_index import BLOCK_ROWS, KeyIndex
from cache.arrays.large_arrays import row_blocks
from cache.arrays.packed_keys import KEY
from cache.errors import DamagedCacheError
from cache.keys import content_key
from cache.sealed.cache import Cache

__all__ = ["MOST_BYTES", "choose_samples", "read_samples"]

N_SAMPLES = 4
N_TRIED = 32  # contents, of which some may be unreadable or large
MOST_BYTES = 2**18  # of one content


def choose_samples(
    keys: KeyIndex,
    read: Callable[[str], bytes | None],
    *,
    kept_samples: Mapping[str, bytes],
    excluded_keys: Set[str] = frozenset(),
    n_keys: int | None = None,
) -> dict[str, bytes]:
    """Return `N_SAMPLES` contents by key, of the first `n_keys` keys (by default all); large ones are passed over.

    The `kept_samples` of these keys are returned where they are as many, so that nothing is read anew. ``read(key)``
    returns a content, None where it cannot be read or is large. None of the `excluded_keys` is among the samples.
    """
    n_keys = len(keys) if n_keys is None else n_keys
    kept_rows = keys.rows_of(list(kept_samples)).tolist()
    present_keys = {key for key, row in zip(kept_samples, kept_rows, strict=True) if 0 <= row < n_keys}
    samples = {key: kept_samples[key] for key in sorted(present_keys - excluded_keys)}
    if len(samples) == N_SAMPLES:
        return samples
    samples = {}
    for key in _smallest(keys, n_keys, excluded_keys):
        content = kept_samples[key] if key in kept_samples else read(key)
        if content is not None and len(content) <= MOST_BYTES:
            samples[key] = content
        if len(samples) == N_SAMPLES:
            break
    return samples


def _smallest(keys: KeyIndex, n_keys: int, excluded_keys: Set[str]) -> list[str]:
    """Return the first keys in alphabetical order, which for digests is a random choice of contents."""
    n_smallest = N_TRIED + len(excluded_keys)
    smallest = np.empty(0, dtype=KEY)
    for rows in row_blocks(n_keys, BLOCK_ROWS):
        block = keys.letters(rows)
        if len(smallest) == n_smallest:
            block = block[block < smallest[-1]]
        smallest = np.sort(np.append(smallest, block))[:n_smallest]
    return [key for key in smallest.astype(str).tolist() if key not in excluded_keys][:N_TRIED]


def read_samples(cache: Cache, modality: str) -> dict[str, bytes]:
    """Return the contents that a cache keeps as they are, by key; none where it keeps none.

    Raises:
        DamagedCacheError: a content has another key.
    """
    samples = {key: cell.encode("utf-8", "surrogateescape") for key, cell in cache.samples(modality).items()}
    for key, content in samples.items():
        if content_key(content) != key:
            raise DamagedCacheError(
                f"{cache.path} is damaged: the {modality} content {key[:12]}… is not the one it names. Restore it from "
                "a copy, or delete it and run embed-extract again."
            )
    return samples
