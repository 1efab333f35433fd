"""Several encoders of one modality as one, as heads that learned from all of them see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cache import EncoderSpec, VectorsByKey
from heads.data.encoder_sets import joined_name, joined_spec, parts_of

__all__ = ["JoinedEncoder", "JoinedVectors", "Known", "known_vectors"]

BATCH_SIZE = 32  # of an encoder that does not say what suits it


class JoinedEncoder:
    """Encodes with each of several encoders (`TriedEncoder`), and puts their vectors side by side."""

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
        """Try each encoder now, if that was not done yet.

        Raises:
            HeadError: as of `heads.prediction.head_encoders.check_parity`.
        """
        for part in self.parts:
            part.check()

    def prepare(self, content: Any) -> list[Any]:
        """Return the content as each network takes it; raises what these do."""
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
    """Return the encoder that a tried one is, or is a depth of."""
    return getattr(part, "whole", part.encoder)


class JoinedVectors:
    """The vectors of several encoders in a cache, side by side, by content key, as `cache.VectorsByKey` has one's."""

    def __init__(self, parts: Sequence[VectorsByKey]) -> None:
        self._parts = parts

    def knows(self, key: str) -> bool:
        """Return whether a content has a vector of each."""
        return all(part.knows(key) for part in self._parts)

    def find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Return what `VectorsByKey.find` does; who lacks one encoder's vector has none."""
        vectors, masks, failures = zip(*(part.find(keys) for part in self._parts), strict=True)
        several = {key: status for some in failures for key, status in some.items()}
        return np.concatenate(vectors, axis=1), np.logical_and.reduce(masks), several


Known = VectorsByKey | JoinedVectors


def known_vectors(cache_path: Path, spec: EncoderSpec) -> Known | None:
    """Return the vectors of a cache that were made in one way, by one encoder or several; None where it lacks one's.

    Raises:
        CacheError: the cache cannot be read.
    """
    parts = [VectorsByKey.of_spec(cache_path, part) for part in parts_of(spec).values()]
    made = [part for part in parts if part is not None]
    if len(made) < len(parts):
        return None
    return made[0] if len(made) == 1 else JoinedVectors(made)
