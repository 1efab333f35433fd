"""Several encoders of one modality as one encoder, for heads that learned from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cache import EncoderSpec, VectorsByKey
from heads.data.encoder_sets import joined_name, joined_spec, parts_of

__all__ = ["JoinedEncoder", "JoinedVectors", "KnownVectors", "known_vectors"]

BATCH_SIZE = 32  # of an encoder that does not say what suits it


class JoinedEncoder:
    """Encodes with each of several encoders (`CheckedEncoder`), and puts their vectors side by side."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = list(parts)
        self.name = joined_name(part.name for part in parts)
        self.spec = joined_spec({part.name: part.spec for part in parts})
        self.batch_size = min(int(getattr(part, "batch_size", BATCH_SIZE)) for part in parts)
        networks: dict[int, list[Any]] = {}
        for part in parts:
            networks.setdefault(id(network_of(part)), []).append(part)
        self._networks = list(networks.values())

    @property
    def model(self) -> list[Any]:
        """The networks, loaded."""
        return [getattr(part, "model", None) for part in self.parts]

    def check(self) -> None:
        """Check each encoder now, unless that was done before.

        Raises:
            HeadError: as of `heads.prediction.head_encoders.check_parity`.
        """
        for part in self.parts:
            part.check()

    def prepare(self, content: Any) -> list[Any]:
        """Return the content as each network takes it; raises what their `prepare` raises."""
        return [parts[0].prepare(content) for parts in self._networks]

    def encode(self, batch: Sequence[list[Any]]) -> np.ndarray:
        """Return the vectors side by side, (B, sum of D) float32; a network of several depths is called once."""
        vectors: dict[str, np.ndarray] = {}
        for parts, items in zip(self._networks, zip(*batch, strict=True), strict=True):
            if len(parts) == 1:
                encoded = parts[0].encode(list(items))
                vectors[parts[0].name] = getattr(encoded, "vectors", encoded)
                continue
            for part in parts:
                part.check()
            encoded = network_of(parts[0]).encode(list(items))
            for part in parts:
                depth = getattr(part, "depth", None)
                vectors[part.name] = encoded.vectors if depth is None else encoded.beside[depth]
        return np.concatenate([vectors[part.name] for part in self.parts], axis=1)


def network_of(part: Any) -> Any:
    """Return the encoder behind a checked one, or the whole network of which that is a depth."""
    return getattr(part, "whole", part.encoder)


class JoinedVectors:
    """The vectors of several encoders in a cache, side by side, by content key; as `cache.VectorsByKey` of one."""

    def __init__(self, parts: Sequence[VectorsByKey]) -> None:
        self._parts = parts

    def knows(self, key: str) -> bool:
        """Return whether a content has a vector of each."""
        return all(part.knows(key) for part in self._parts)

    def find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Return what `VectorsByKey.find` does; a content that lacks one encoder's vector has none."""
        vectors, masks, failures = zip(*(part.find(keys) for part in self._parts), strict=True)
        all_failures = {key: status for part_failures in failures for key, status in part_failures.items()}
        return np.concatenate(vectors, axis=1), np.logical_and.reduce(masks), all_failures


KnownVectors = VectorsByKey | JoinedVectors


def known_vectors(cache_path: Path, spec: EncoderSpec) -> KnownVectors | None:
    """Return a cache's vectors that one encoder made, or several as one; None where it lacks those of one of them.

    Raises:
        CacheError: the cache cannot be read.
    """
    parts = [VectorsByKey.of_spec(cache_path, part) for part in parts_of(spec).values()]
    known_parts = [part for part in parts if part is not None]
    if len(known_parts) < len(parts):
        return None
    return known_parts[0] if len(known_parts) == 1 else JoinedVectors(known_parts)
