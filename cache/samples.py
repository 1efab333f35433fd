"""A few contents of a catalogue as they are, on which an encoder can be tried again: it must give their vectors."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Set

from cache.errors import DamagedCacheError
from cache.keys import content_key
from cache.store import Cache

__all__ = ["MOST_BYTES", "choose_samples", "read_samples"]

N_SAMPLES = 4
N_TRIED = 32
MOST_BYTES = 2**18  # of one content


def choose_samples(
    keys: Set[str], read: Callable[[str], bytes | None], *, kept: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return some contents by their keys; large ones are passed over.

    Those that are `kept` stay while there are enough of them, so that nothing is read anew. `read` gives the content of
    a key, None where it cannot or where that is large.
    """
    samples = {key: kept[key] for key in sorted(kept) if key in keys}
    if len(samples) == N_SAMPLES:
        return samples
    samples = {}
    for key in heapq.nsmallest(N_TRIED, keys):  # keys are digests, so that their order says nothing of the contents
        content = kept[key] if key in kept else read(key)
        if content is not None and len(content) <= MOST_BYTES:
            samples[key] = content
        if len(samples) == N_SAMPLES:
            break
    return samples


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
