"""Vectors of products in memory, from a cache: what is new is encoded and put into it."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cache import CacheError, Journal
from cache.cloud.addresses import local_only
from embed.amounts import plural
from embed.catalogue.data_frame import read_frame
from embed.contents.hash_cache import Hints
from embed.contents.statuses import NOT_BAD
from embed.encoders.factory import make_encoders, replicas
from embed.encoders.protocol import Encoder
from embed.extraction.in_memory.cached_vectors import CachedVectors
from embed.extraction.source.content_source import find_source
from embed.settings import ExtractSettings

__all__ = ["ProductVectors", "product_vectors"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class ProductVectors:
    """One encoder's vectors of N products.

    Shape:
        vectors: (N, D) float32, NaN where a product has none; D is 0 where none has one
    """

    name: str  # the modality, and the encoder where several encode it
    vectors: np.ndarray
    statuses: list[str]  # N: "ok", or why there is no vector


def product_vectors(
    products: Any,
    cache_path: str | Path,
    *,
    settings: ExtractSettings | None = None,
    encoders: Sequence[Encoder] | None = None,
) -> tuple[list[ProductVectors], ExtractSettings]:
    """Return the vectors of products, sorted by name, and settings that name the columns they were made of.

    `products` are a DataFrame, a list of dicts, a dict of lists, or a list of texts; pictures are paths, bytes or PIL
    images. `encoders` replaces those that the settings name.

    Raises:
        CatalogueError: a column cannot be found.
        SettingError, WeightsError, DeviceError: the settings are wrong, or an encoder cannot be had.
        CacheError: as `CachedVectors.find` does.
    """
    if encoders is not None:
        modalities = tuple(sorted({encoder.spec.modality for encoder in encoders}))
        settings = replace(settings or ExtractSettings(), modalities=modalities)
    catalogue, settings = read_frame(products, settings)
    path = local_only(cache_path)
    if encoders is None:
        teams = _teams(path, settings)
    else:
        teams = [CachedVectors(path, team, settings=settings) for team in replicas(encoders)]
    hints = Hints(path.with_name(path.name + ".hints"), folder=path.parent, is_ignored=settings.rehash)
    sources = {
        modality: find_source(modality, catalogue, settings, hints=hints, needs_pictures=False)
        for modality in settings.modalities
    }
    counts = Counter(team.encoder.spec.modality for team in teams)
    by_encoder = []
    for team in teams:
        modality = team.encoder.spec.modality
        vectors, statuses = team.find(sources[modality])
        name = modality if counts[modality] == 1 else re.sub(r"\W", "_", f"{modality}_{team.encoder.name}")
        by_encoder.append(ProductVectors(name, vectors, statuses))
    if hints.has_news:
        with suppress(CacheError), Journal(path):  # it may be locked, or on a disk to read alone
            hints.save()
    _tell_bad(by_encoder)
    return sorted(by_encoder, key=lambda encoded: encoded.name), settings


@lru_cache(maxsize=2)
def _teams(cache_path: Path, settings: ExtractSettings) -> list[CachedVectors]:
    """Return what gives the vectors of each encoder; a model that is loaded stays for the next call."""
    keeps_precision = settings.precision == "auto"
    return [
        CachedVectors(cache_path, team, settings=settings, keeps_precision=keeps_precision)
        for team in replicas(make_encoders(settings))
    ]


def _tell_bad(by_encoder: Sequence[ProductVectors]) -> None:
    """Warn of products without a vector."""
    for encoded in by_encoder:
        counts = Counter(status for status in encoded.statuses if status not in NOT_BAD)
        if counts:
            log.warning(
                "%d of %s have no %s vector: %s.",
                counts.total(), plural(len(encoded.statuses), "product"), encoded.name,
                ", ".join(f"{status} {count}" for status, count in counts.most_common()),
            )  # fmt: skip
