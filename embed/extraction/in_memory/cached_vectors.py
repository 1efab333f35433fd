"""Vectors of contents from a cache: what is known is read, what is new is encoded and put into the cache."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cache import Cache, Inventory, Journal, VectorsByKey, plan, seal
from cache.arrays.key_column import KeyColumn
from cache.cloud.addresses import local_only
from cache.keys import EncoderSpec
from cache.system.reading import facts_of
from embed.contents.statuses import OK, RETRIED
from embed.encoders.precision import keep_precision
from embed.encoders.protocol import Encoder
from embed.extraction.encoding.encoder_run import EncoderRun
from embed.extraction.source.content_source import ContentSource
from embed.settings import ExtractSettings

__all__ = ["CachedVectors"]

MOST_PARTS = 16  # that wait in the journal, after small ones were merged; every reader holds them in memory
SEALED_SHARE = 4  # sealing writes the whole cache anew, so it waits until a quarter of that is new


class CachedVectors:
    """One encoder's vectors, for any contents, from a cache: no catalogue is needed, and one that is there stays.

    Known contents are read without a lock and without a model. New ones are encoded by whoever has the writer's lock;
    others wait for it, look again, and encode what is still missing. What was encoded is on the disk when `find`
    returns. It waits in the cache's journal until there is enough to seal.

    Args:
        cache_path: the cache; a new file where there is none.
        replicas: one encoder, once a device; they share the work.
        settings: those of the work itself, such as ``n_workers``, ``batch_size`` and ``retry_failed``.
        keeps_precision: an encoder whose precision was not chosen goes on in the one that the cache has.
    """

    def __init__(
        self,
        cache_path: str | Path,
        replicas: Sequence[Encoder],
        *,
        settings: ExtractSettings | None = None,
        keeps_precision: bool = False,
    ) -> None:
        self.cache_path = local_only(cache_path)  # sealing replaces the file, and must not replace a link
        self.replicas = replicas
        self.settings = settings or ExtractSettings()
        if keeps_precision and facts_of(self.cache_path) is not None:
            with Cache(self.cache_path) as cache:
                keep_precision(replicas, _specs_of(cache))
        self._vectors = VectorsByKey(self.cache_path, self.encoder.name, self.encoder.spec)

    @property
    def encoder(self) -> Encoder:
        """The first of the replicas, whose name and spec are those of all."""
        return self.replicas[0]

    def has_any(self, source: ContentSource) -> bool:
        """Return whether any of the contents has a vector already."""
        return bool(self._vectors.find(source.keys)[1].any())

    def find(self, source: ContentSource) -> tuple[np.ndarray, list[str]]:
        """Return the vectors of N contents, and each one's status: ``ok``, or why it has none.

        Shape:
            output: (N, D) float32, NaN where there is no vector; D is 0 where there is none at all

        Raises:
            CacheError: the cache is damaged or of another kind, or the disk is full; what is done is kept.
            SpecConflictError: the cache has vectors of this name that were made in another way.
            WeightsError, EncoderError: the encoder fails.
        """
        vectors, has_vector, failures = self._vectors.find(source.keys)
        if self._to_encode(source, has_vector, failures):
            self._encode(source)
            vectors, has_vector, failures = self._vectors.find(source.keys)
        statuses = []
        for key, is_encoded, status in zip(source.keys, has_vector.tolist(), source.statuses, strict=True):
            if is_encoded:
                statuses.append(OK)
            else:
                statuses.append(failures.get(key, RETRIED) if key else status)
        return vectors, statuses

    def _to_encode(self, source: ContentSource, has_vector: np.ndarray, failures: dict[str, str]) -> KeyColumn:
        """Return the keys without a vector, but for those that failed before, unless these are tried again."""
        keys = KeyColumn(source.keys.contents, source.keys.rows[~has_vector])
        return plan(keys, () if self.settings.retry_failed else failures)

    def _encode(self, source: ContentSource) -> None:
        """Encode what is still missing once no other process writes, and seal where there is enough to seal."""
        with Journal(self.cache_path, is_patient=True) as journal, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of malformed EXIF and large pictures: statuses say so
            run = EncoderRun(self.replicas, source, self.cache_path, journal, self.settings)
            inventory = Inventory(self.cache_path, journal)
            run.encode_missing(inventory)
            if self._is_due(journal):
                seal(self.cache_path, journal, None, inventory=inventory)

    def _is_due(self, journal: Journal) -> bool:
        """Return whether there is enough in the journal to seal."""
        sealed = facts_of(self.cache_path)
        parts = [facts.st_size for path in journal.paths() if (facts := facts_of(path)) is not None]
        return sealed is None or len(parts) > MOST_PARTS or SEALED_SHARE * sum(parts) >= sealed.st_size


def _specs_of(cache: Cache) -> dict[tuple[str, str], EncoderSpec]:
    return {
        (modality, encoder): cache.spec(modality, encoder)
        for modality in cache.content_modalities
        for encoder in cache.encoders(modality)
    }
