"""A few contents of a catalogue as they are, on which an encoder can be tried again: it must give their vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

import numpy as np

from cache.arrays.key_index import BLOCK_ROWS, KeyIndex
from cache.arrays.large_arrays import row_blocks
from cache.arrays.packed_keys import KEY
from cache.errors import DamagedCacheError
from cache.keys import content_key
from cache.sealed.store import Cache

__all__ = ["MOST_BYTES", "choose_samples", "read_samples"]

N_SAMPLES = 4
N_TRIED = 32
MOST_BYTES = 2**18  # of one content


def choose_samples(
    keys: KeyIndex,
    read: Callable[[str], bytes | None],
    *,
    kept: Mapping[str, bytes],
    left_out: Set[str] = frozenset(),
    n_keys: int | None = None,
) -> dict[str, bytes]:
    """Return some contents by their keys, of so many of the first; large ones are passed over.

    Those that are `kept` stay while there are enough of them, so that nothing is read anew. `read` gives the content of
    a key, None where it cannot or where that is large. Those that are `left_out` are not among them.
    """
    n_keys = len(keys) if n_keys is None else n_keys
    here = {key for key, row in zip(kept, keys.rows_of(list(kept)).tolist(), strict=True) if 0 <= row < n_keys}
    samples = {key: kept[key] for key in sorted(here - left_out)}
    if len(samples) == N_SAMPLES:
        return samples
    samples = {}
    for key in _smallest(keys, n_keys, left_out):
        content = kept[key] if key in kept else read(key)
        if content is not None and len(content) <= MOST_BYTES:
            samples[key] = content
        if len(samples) == N_SAMPLES:
            break
    return samples


def _smallest(keys: KeyIndex, n_keys: int, left_out: Set[str]) -> list[str]:
    """Return the first keys in their order: they are digests, so that it says nothing of the contents."""
    n_wanted = N_TRIED + len(left_out)
    smallest = np.empty(0, dtype=KEY)
    for rows in row_blocks(n_keys, BLOCK_ROWS):
        block = keys.letters(rows)
        if len(smallest) == n_wanted:
            block = block[block < smallest[-1]]
        smallest = np.sort(np.append(smallest, block))[:n_wanted]
    return [key for key in smallest.astype(str).tolist() if key not in left_out][:N_TRIED]


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
