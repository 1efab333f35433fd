"""One encoder at work: batches of contents in, parts of the journal out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cache import Inventory, Journal, Part, plan
from embed.contents import Source
from embed.device import count_cores, shared_cores
from embed.encoders import Encoded, Encoder, joined
from embed.errors import ContentError, EncoderError
from embed.lanes import Lanes
from embed.progress import Progress
from embed.settings import ExtractSettings
from embed.space import check_space
from embed.statuses import RETRIED
from embed.workers import completed

__all__ = ["EncoderReport", "EncoderRun"]

BATCH_SIZE = 32  # of an encoder that does not say what suits it


@dataclass(frozen=True)
class EncoderReport:
    """What one encoder had to do: unique contents, those cached before, encoded now, and not readable."""

    name: str  # <modality>/<encoder>
    n_unique: int
    n_cached: int
    n_encoded: int
    n_failed: int
    elapsed_s: float


@dataclass(frozen=True)
class Batch:
    """What a worker made of some contents: what was encoded, and why others could not be read."""

    keys: list[str]
    encoded: Encoded | None  # one vector per key; None where nothing could be read
    failures: dict[str, str]  # key -> status

    @property
    def n_bytes(self) -> int:
        """The bytes of the vectors and tokens."""
        if self.encoded is None:
            return 0
        tokens = self.encoded.tokens
        return self.encoded.vectors.nbytes + (0 if tokens is None else tokens.values.nbytes)


@dataclass
class EncoderRun:
    """One encoder at work on one source; its replicas, one a device, share the work.

    Each worker thread takes a batch, reads and decodes it, and encodes it when a replica is free, so that decoding
    overlaps with encoding. This thread does no more than collect what they made and publish it.
    """

    replicas: Sequence[Encoder]
    source: Source
    journal: Journal
    settings: ExtractSettings
    changed: set[str] = field(default_factory=set)
    n_encoded: int = 0
    n_failed: int = 0
    batches: list[Batch] = field(default_factory=list)  # since the last part
    failures: dict[str, str] = field(default_factory=dict)  # likewise
    known_failures: dict[str, str] = field(default_factory=dict)
    n_dim: int = 0
    published_at: float = 0.0

    @property
    def encoder(self) -> Encoder:
        """The first of the replicas, whose name and spec are those of all."""
        return self.replicas[0]

    @property
    def name(self) -> str:
        """The encoder's place in the cache: ``<modality>/<encoder>``."""
        return f"{self.encoder.spec.modality}/{self.encoder.name}"

    def missing(self, inventory: Inventory) -> list[str]:
        """Return the keys that the inventory lacks, in the order to encode them in."""
        modality = self.encoder.spec.modality
        have = set(inventory.entry(modality, self.encoder.name, self.encoder.spec).keys)
        if not self.settings.retry_failed:
            have |= inventory.failures[modality].keys()
        missing = plan(self.source.places, have)
        if modality == "text":
            # Like lengths need little padding; and what takes longest comes first, so that the cores end together.
            missing.sort(key=lambda key: len(str(self.source.places[key])), reverse=True)
        return missing

    def encode_missing(self, inventory: Inventory) -> EncoderReport:
        """Encode what the inventory lacks, and publish it part by part.

        Raises:
            CacheError: there is no space for it on the disk; at the first batch, when its size is known.
        """
        started = self.published_at = time.monotonic()
        modality = self.encoder.spec.modality
        self.n_dim = inventory.entry(modality, self.encoder.name, self.encoder.spec).n_dim
        self.known_failures = inventory.failures[modality]
        missing = self.missing(inventory)
        try:
            with Progress(f"Encoding {self.name}", len(missing), unit=modality) as progress:
                for batch in self.encode(missing):
                    if not self.n_encoded and batch.keys:
                        n_bytes = batch.n_bytes * len(missing) // len(batch.keys)
                        check_space(self.journal.folder.parent, n_bytes=n_bytes)
                    self._collect(batch)
                    progress.advance(len(batch.keys) + len(batch.failures))
                    if self._is_due():
                        self._publish()
        finally:
            self._publish()  # on Ctrl-C too: what is encoded is kept
        return EncoderReport(
            name=self.name,
            n_unique=len(self.source.places),
            n_cached=len(self.source.places) - len(missing),
            n_encoded=self.n_encoded,
            n_failed=self.n_failed,
            elapsed_s=time.monotonic() - started,
        )

    def encode(self, keys: Sequence[str]) -> Iterator[Batch]:
        """Yield batches of the keys as the workers have encoded them, in any order."""
        if not keys:
            return
        n_workers = self.settings.n_workers or count_cores()
        size = self.settings.batch_size or int(getattr(self.encoder, "batch_size", BATCH_SIZE))
        lanes = Lanes(self.replicas)
        n_threads = max(1, count_cores() // min(n_workers, lanes.n_lanes))

        def encode(batch_keys: Sequence[str]) -> Batch:
            return self._encode(batch_keys, lanes)

        batches = (keys[start : start + size] for start in range(0, len(keys), size))
        with shared_cores(n_threads) as start_worker:
            yield from completed(encode, batches, n_workers=n_workers, n_ahead=2 * n_workers, start_worker=start_worker)

    def _encode(self, keys: Sequence[str], lanes: Lanes) -> Batch:
        """Read, prepare and encode some contents; called by the workers."""
        items: dict[str, Any] = {}
        failures = {}
        for key in keys:
            try:
                items[key] = self.encoder.prepare(self.source.read(key))
            except ContentError as error:
                failures[key] = str(error)
        return Batch(list(items), lanes.encode(list(items.values())) if items else None, failures)

    def _collect(self, batch: Batch) -> None:
        """Take over what a worker made, once it is known to be vectors."""
        for key, status in batch.failures.items():
            if status == RETRIED:
                self.changed.add(key)
            else:
                self.n_failed += 1
                if self.known_failures.get(key) != status:
                    self.failures[key] = status
        if batch.encoded is not None:
            self._check(batch.encoded.vectors, n_contents=len(batch.keys))
            self.n_dim = batch.encoded.vectors.shape[1]
            self.batches.append(batch)
            self.n_encoded += len(batch.keys)

    def _check(self, vectors: np.ndarray, *, n_contents: int) -> None:
        n_dim = self.n_dim or vectors.shape[-1]
        if vectors.shape != (n_contents, n_dim) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise EncoderError(
                f"{self.name} must give {n_contents} finite float32 vectors of "
                f"{n_dim} dimensions, however it gave {vectors.dtype} of shape {vectors.shape}"
                + (" with NaN or infinity" if not np.isfinite(vectors).all() else "")
                + ". Try --precision fp32, --device cpu or other weights."
            )

    def _is_due(self) -> bool:
        n_bytes = sum(batch.n_bytes for batch in self.batches)
        return n_bytes >= self.settings.part_bytes or time.monotonic() - self.published_at >= self.settings.part_s

    def _publish(self) -> None:
        if self.batches or self.failures:
            keys = [key for batch in self.batches for key in batch.keys]
            encoded = joined([batch.encoded for batch in self.batches if batch.encoded is not None])
            part = Part(
                self.encoder.name, self.encoder.spec, keys, encoded.vectors, self.failures, tokens=encoded.tokens
            )
            self.journal.publish(part)
        self.batches, self.failures = [], {}
        self.published_at = time.monotonic()
