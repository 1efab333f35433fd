"""Vectors that a cache holds already, found by the keys of their contents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from cache.keys import EncoderSpec
from cache.store import Cache
from cache.writer import CHUNK_ROWS

__all__ = ["KnownVectors"]


class KnownVectors:
    """The vectors of one encoder in a cache, whatever their name there; they are read when they are asked for.

    A cache without the encoder knows none.
    """

    def __init__(self, cache: Cache, spec: EncoderSpec) -> None:
        self._cache, self._modality = cache, spec.modality
        names = cache.encoders(spec.modality) if spec.modality in cache.content_modalities else []
        fitting = [name for name in names if cache.spec(spec.modality, name).fingerprint == spec.fingerprint]
        self._encoder = fitting[0] if fitting else ""
        rows = np.flatnonzero(cache.encoded(spec.modality, self._encoder)) if fitting else np.zeros(0, dtype=np.int64)
        keys = cache.keys(spec.modality)[rows] if fitting else np.zeros(0, dtype="S64")
        order = np.argsort(keys)
        self._keys, self._rows = keys[order], rows[order]

    def __len__(self) -> int:
        return len(self._keys)

    def knows(self, key: str) -> bool:
        """Return whether the content of a key has a vector; nothing is read for it."""
        wanted = np.bytes_(key.encode())
        place = int(np.searchsorted(self._keys, wanted))
        return place < len(self) and bool(self._keys[place] == wanted)

    def find(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the vectors of those keys that are known, {key: (D,) float32}."""
        if not len(self) or not keys:
            return {}
        wanted = np.array(keys, dtype="S64")
        places = np.minimum(np.searchsorted(self._keys, wanted), len(self) - 1)
        chunks: dict[int, list[tuple[str, int]]] = defaultdict(list)  # of the file, each read once
        for key, row, is_known in zip(keys, self._rows[places].tolist(), self._keys[places] == wanted, strict=True):
            if is_known:
                chunks[row // CHUNK_ROWS].append((key, row))
        found: dict[str, np.ndarray] = {}
        for members in chunks.values():
            rows = [row for _, row in members]
            block = self._cache.vector_block(self._modality, self._encoder, min(rows), max(rows) + 1)
            found |= {key: block[row - min(rows)].copy() for key, row in members}
        return found
