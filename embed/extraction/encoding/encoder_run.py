"""One encoder at work: batches of contents in, parts of the journal out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from cache import Inventory, Journal, Part, plan
from cache.arrays.key_column import KeyColumn
from cache.arrays.large_arrays import empty, release_pages, row_blocks
from cache.console.progress import Progress
from cache.inventory.inventory import Entry
from cache.system.cores import count_cores
from embed.contents.objects import fetch_together
from embed.contents.statuses import RETRIED
from embed.encoders.device import one_core_each
from embed.encoders.protocol import Encoded, Encoder, joined
from embed.errors import ContentError, EncoderError
from embed.extraction.disk_space import check_space
from embed.extraction.encoding.batch import Batch
from embed.extraction.encoding.longest_first import longest_first
from embed.extraction.encoding.replica_pool import ReplicaPool
from embed.extraction.source.content_source import ContentSource
from embed.extraction.thread_map import completed
from embed.settings import ExtractSettings

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


@dataclass
class EncoderRun:
    """One encoder at work on one source; its replicas, one a device, share the work.

    Each worker thread takes a batch, reads and decodes it, and has the replica pool encode it, so that decoding
    overlaps with encoding, and no more batches are prepared than there are workers. This thread collects what they made
    and publishes it.
    """

    replicas: Sequence[Encoder]
    source: ContentSource
    cache_path: Path
    journal: Journal
    settings: ExtractSettings
    changed: set[str] = field(default_factory=set)
    n_encoded: int = 0
    n_failed: int = 0
    n_bytes: int = 0  # of the vectors and tokens that were encoded
    batches: list[Batch] = field(default_factory=list)  # since the last part
    failures: dict[str, str] = field(default_factory=dict)  # likewise
    known_failures: dict[str, str] = field(default_factory=dict)
    entry: Entry | None = None  # the vectors that there were before
    dim: int = 0
    token_dim: int | None = None  # 0: without tokens; None: not known yet
    published_at: float = 0.0

    @property
    def encoder(self) -> Encoder:
        """The first of the replicas, whose name and spec are those of all."""
        return self.replicas[0]

    @property
    def name(self) -> str:
        """The encoder's place in the cache: ``<modality>/<encoder>``."""
        return f"{self.encoder.spec.modality}/{self.encoder.name}"

    def missing_keys(self, inventory: Inventory) -> KeyColumn:
        """Return the keys that the inventory lacks, in the order to encode them in, by the contents' numbers."""
        keys = self._planned(inventory)
        if self.encoder.spec.modality != "text":
            return keys
        # Texts of one length need little padding; the longest come first, so that the cores end together.
        rows, lengths = keys.rows, empty(len(keys), np.int32)
        for block in row_blocks(len(rows)):
            texts = (self.source.places[number] for number in rows[block].tolist())
            lengths[block] = [len(str(text)) for text in texts]
        order = longest_first(lengths)
        for block in row_blocks(len(rows)):
            order[block] = rows[order[block]]
        return KeyColumn(keys.contents, order)

    def lacks_any(self, inventory: Inventory) -> bool:
        """Return whether the inventory lacks a key."""
        return len(self._planned(inventory)) > 0

    def _planned(self, inventory: Inventory) -> KeyColumn:
        """Return the keys that the inventory lacks, in the order of the contents' numbers."""
        modality = self.encoder.spec.modality
        entry = inventory.entry(modality, self.encoder.name, self.encoder.spec)
        failed = () if self.settings.retry_failed else inventory.failures[modality]
        return plan(self.source.keys.contents, entry.keys, failed)

    def encode_missing(self, inventory: Inventory) -> EncoderReport:
        """Encode what the inventory lacks, and publish it part by part.

        Raises:
            CacheError: there is no space for it on the disk; at the first batch, when its size is known.
        """
        started = time.monotonic()
        modality = self.encoder.spec.modality
        entry = inventory.entry(modality, self.encoder.name, self.encoder.spec)
        keys = self.missing_keys(inventory)
        with Progress(f"Encoding {self.name}", len(keys), unit=modality) as progress:
            self.encode_keys(keys, entry, inventory.failures[modality], advance=progress.advance)
        return self.report(n_missing=len(keys), elapsed_s=time.monotonic() - started)

    def report(self, *, n_missing: int, elapsed_s: float) -> EncoderReport:
        """Return the report of a run that had to encode `n_missing` contents."""
        n_unique = len(self.source.places)
        return EncoderReport(self.name, n_unique, n_unique - n_missing, self.n_encoded, self.n_failed, elapsed_s)

    def encode_keys(
        self,
        keys: KeyColumn,
        entry: Entry,
        known_failures: dict[str, str],
        *,
        advance: Callable[[int], object],
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Encode contents of which the entry has none, and publish them part by part.

        `advance` is told how many were tried, batch by batch. None is begun when `is_over` says so.

        Raises:
            CacheError: there is no space for it on the disk; at the first batch, when its size is known.
        """
        self.begin(entry, known_failures)
        try:
            with closing(self.encode(keys, is_over=is_over)) as encoded:  # all threads end here, whatever goes wrong
                for batch in encoded:
                    if n_bytes := self.take(batch, keys):
                        check_space(self.cache_path, n_bytes=n_bytes)
                    advance(batch.n_contents)
                    self.publish_if_due()
        finally:
            self.end()

    def begin(self, entry: Entry, known_failures: dict[str, str]) -> None:
        """Get ready for batches of contents of which the entry has none."""
        self.published_at = time.monotonic()
        self.entry = entry
        self.dim, self.token_dim = entry.dim, entry.token_dim if entry.dim else None
        self.known_failures = known_failures

    def end(self) -> None:
        """Publish what was taken, on Ctrl-C too, and let what there was before go: it is as large as the catalogue."""
        self.publish()
        self.entry, self.known_failures = None, {}

    def take(self, batch: Batch, keys: KeyColumn) -> int:
        """Check and take over a batch; return the bytes that all keys will take where it is the first, else 0."""
        is_first = not self.n_encoded
        self._collect(batch)
        return self._bytes_of_all(keys, batch) if is_first and batch.keys else 0

    def publish_if_due(self) -> None:
        """Publish what was taken, where it is enough for a part, or has waited for some seconds."""
        n_bytes = sum(batch.vector_bytes + batch.token_bytes for batch in self.batches)
        if n_bytes >= self.settings.part_bytes or time.monotonic() - self.published_at >= self.settings.part_s:
            self.publish()

    @property
    def n_workers(self) -> int:
        """How many threads read and prepare, and have the pool encode."""
        return self.settings.n_workers or count_cores()

    @property
    def batch_size(self) -> int:
        """How many contents are encoded together."""
        return self.settings.batch_size or int(getattr(self.encoder, "batch_size", BATCH_SIZE))

    def encode(
        self, keys: KeyColumn, *, batch_size: int | None = None, is_over: Callable[[], bool] = lambda: False
    ) -> Generator[Batch]:
        """Yield batches of the keys as the workers have encoded them, in any order; once it `is_over`, no new one."""
        if not keys:
            return
        size = batch_size or self.batch_size
        starts = takewhile(lambda _: not is_over(), range(0, len(keys), size))
        batches = (keys[start : start + size] for start in starts)
        with one_core_each() as start_worker, ReplicaPool(self.replicas, n_callers=self.n_workers) as pool:
            yield from completed(
                lambda batch_keys: self._encode(batch_keys, pool),
                batches,
                n_workers=self.n_workers,
                n_ahead=2 * self.n_workers,
                start_worker=start_worker,
            )

    def _encode(self, keys: KeyColumn, pool: ReplicaPool) -> Batch:
        """Read and prepare some contents, and have them encoded; called by the workers."""
        items: dict[str, Any] = {}
        failures = {}
        numbers = keys.rows.tolist()
        fetch_together(self.source.places[number] for number in numbers)
        for key, number in zip(keys, numbers, strict=True):
            try:
                items[key] = self.encoder.prepare(self.source.read(number))
            except ContentError as error:
                failures[key] = str(error)
        return Batch(list(items), pool.encode(list(items.values())) if items else joined([]), failures)

    def _bytes_of_all(self, keys: KeyColumn, batch: Batch) -> int:
        """Return the bytes that all keys take, judged by one batch: vectors by number, tokens by the texts' lengths."""

        def total_length(numbers: np.ndarray) -> int:
            places = (self.source.places[number] for number in numbers.tolist())
            return sum(len(place) if isinstance(place, str) else 1 for place in places)

        n_bytes = batch.vector_bytes * len(keys) / len(batch.keys)
        if batch.token_bytes:
            n_bytes += batch.token_bytes * total_length(keys.rows) / total_length(keys.contents.rows_of(batch.keys))
        return round(n_bytes)

    def _collect(self, batch: Batch) -> None:
        """Keep a batch for the next part, and count what became of its contents."""
        for key, status in batch.failures.items():
            if status == RETRIED:
                self.changed.add(key)
            else:
                self.n_failed += 1
                if self.known_failures.get(key) != status:
                    self.failures[key] = status
        if batch.keys:
            self._check(batch.encoded, n_contents=len(batch.keys))
            self.batches.append(batch)
            self.n_bytes += batch.vector_bytes + batch.token_bytes
            self.n_encoded += len(batch.keys)

    def _check(self, encoded: Encoded, *, n_contents: int) -> None:
        """Check that a batch is finite vectors and tokens of the same dimensions as those before it."""
        vectors = encoded.vectors
        dim = self.dim or vectors.shape[-1]
        expectation = f"Expected {self.name} to give {n_contents} finite float32 vectors of {dim} dimensions"
        if vectors.shape != (n_contents, dim) or vectors.dtype != np.float32:
            if vectors.ndim == 2 and vectors.shape[1] != dim:
                self._doubt_dimension(vectors.shape[1], n_contents)
            raise EncoderError(
                f"{expectation}, got {vectors.dtype} of shape {vectors.shape}. Mend its encode, or try again."
            )
        if not np.isfinite(vectors).all():
            raise EncoderError(
                f"{expectation}, but some have NaN or infinity. Use --precision fp32 with another "
                f"--{self.encoder.spec.modality}-name, --device cpu, or other weights."
            )
        token_dim = 0 if encoded.tokens is None else encoded.tokens.n_dim
        if self.token_dim not in (None, token_dim):
            raise EncoderError(
                f"Expected {self.name} to give tokens of {self.token_dim} dimensions with each vector (0: none), got "
                f"{token_dim}. Give an encoder that is changed another spec."
            )
        self.dim, self.token_dim = dim, token_dim

    def _doubt_dimension(self, dim: int, n_contents: int) -> None:
        """Keep nothing that would have later runs fail, where it is not known which of two dimensions is right."""
        entry = self.entry
        if entry is None or not entry.dim:
            self.batches = []  # one of this run's own is wrong
        elif not entry.is_sealed and not self.n_encoded and len(entry.keys) <= n_contents:
            for part in entry.parts:
                self.journal.set_aside(
                    part.file.path,
                    f"Expected {self.name} to give {entry.dim} dimensions, as the journal's part "
                    f"{part.file.path.name} has, got {dim} for as many contents or more.",
                )

    def publish(self) -> None:
        """Publish what was taken."""
        if self.batches or self.failures:
            keys = [key for batch in self.batches for key in batch.keys]
            encoded = joined([batch.encoded for batch in self.batches])
            name, spec = self.encoder.name, self.encoder.spec
            self.journal.publish(Part(name, spec, keys, encoded.vectors, self.failures, tokens=encoded.tokens))
            self.batches, self.failures = [], {}
            release_pages()
            self.journal.merge(spec.modality, name)
        self.published_at = time.monotonic()
