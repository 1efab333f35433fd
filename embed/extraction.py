"""Extraction, the only loop: plan, read, prepare, encode, publish, seal."""

from __future__ import annotations

import csv
import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cache import Cache, Inventory, Journal, Part, Products, plan, seal
from embed.catalogue import Catalogue, read_catalogue
from embed.contents import Source, find_source, ordered_map
from embed.encoders import Encoder, make_encoders
from embed.errors import ContentError, EncoderError, TooManyBadError
from embed.hints import Hints
from embed.progress import Progress
from embed.settings import ExtractSettings
from embed.statuses import MEANINGS, NOT_BAD, RETRIED

__all__ = ["EncoderReport", "ExtractReport", "extract"]

log = logging.getLogger("embed_once")


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
class ExtractReport:
    """What an extraction did, and each modality's count of products by status."""

    cache_path: Path
    n_products: int
    encoders: list[EncoderReport]
    statuses: dict[str, dict[str, int]]
    failures_path: Path | None  # the list of contents that could not be read, where there are any
    was_written: bool  # whether the cache changed
    elapsed_s: float


def extract(
    catalogue_path: str | Path = "data.csv",
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: ExtractSettings | None = None,
    encoders: Sequence[Encoder] | None = None,
) -> ExtractReport:
    """Encode what of the catalogue is not in the cache yet, seal the cache, and return what was done.

    A run that is killed has lost no more than the part it was encoding; the same call goes on from there.
    `encoders` replaces those that the settings name; each encodes the modality of its spec.

    Raises:
        CatalogueError: the catalogue cannot be read.
        WeightsError, DeviceError, SettingError: an encoder cannot be had.
        CacheError: the cache is locked, damaged or of another kind, or the disk is full; what is done is kept.
        TooManyBadError: the cache is written, and more contents than `settings.max_bad` could not be read.
    """
    settings = settings or ExtractSettings()
    cache_path = Path(cache_path)
    if cache_path.is_symlink():
        cache_path = cache_path.resolve()  # the rename must replace the file, not the link
    started = time.monotonic()
    catalogue = read_catalogue(catalogue_path, settings)
    n_workers = settings.n_workers or _count_cores()
    with Journal(cache_path) as journal, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of malformed EXIF and large pictures: statuses say so
        encoders = make_encoders(settings) if encoders is None else encoders
        inventory = Inventory(cache_path, journal)
        for encoder in encoders:
            inventory.entry(encoder.spec.modality, encoder.name, encoder.spec)  # a conflict is found before any work
        # What was encoded in another run belongs to these products too.
        modalities = {encoder.spec.modality for encoder in encoders} | (inventory.keys.keys() & catalogue.roles.keys())
        hints_path = cache_path.with_name(cache_path.name + ".hints")
        with Hints(hints_path, folder=journal.folder, is_ignored=settings.rehash) as hints:
            sources = {
                modality: find_source(modality, catalogue, settings, n_workers=n_workers, hints=hints)
                for modality in sorted(modalities)
            }
        reports = []
        changed: set[str] = set()
        for encoder in encoders:
            source = sources[encoder.spec.modality]
            run = _EncoderRun(encoder, source, journal, settings, n_workers)
            reports.append(run.encode_missing(inventory))
            changed |= run.changed
        products = Products(
            ids=catalogue.ids,
            columns=catalogue.columns,
            contents={modality: source.contents(changed) for modality, source in sources.items()},
        )
        n_gone = _count_products_gone(cache_path, catalogue)
        was_written = seal(cache_path, journal, products)
        if n_gone:
            log.info(
                "%d products of the cache are not in %s: they left it, and their vectors stay.", n_gone, catalogue.path
            )
        failures_path, statuses = _list_failures(cache_path, catalogue, list(sources))
    report = ExtractReport(
        cache_path=cache_path,
        n_products=len(catalogue.ids),
        encoders=reports,
        statuses=statuses,
        failures_path=failures_path,
        was_written=was_written,
        elapsed_s=time.monotonic() - started,
    )
    _check_bad(report, settings)
    return report


@dataclass
class _EncoderRun:
    """One encoder at work on one source: batches in, parts out."""

    encoder: Encoder
    source: Source
    journal: Journal
    settings: ExtractSettings
    n_workers: int
    changed: set[str] = field(default_factory=set)
    n_encoded: int = 0
    n_failed: int = 0
    encoded: list[tuple[list[str], np.ndarray]] = field(default_factory=list)  # batches since the last part
    failures: dict[str, str] = field(default_factory=dict)  # likewise
    known_failures: dict[str, str] = field(default_factory=dict)
    n_dim: int = 0
    published_at: float = 0.0

    def encode_missing(self, inventory: Inventory) -> EncoderReport:
        """Encode what the inventory lacks, and publish it part by part."""
        started = self.published_at = time.monotonic()
        modality, name = self.encoder.spec.modality, self.encoder.name
        entry = inventory.entry(modality, name, self.encoder.spec)
        self.n_dim = entry.n_dim
        self.known_failures = inventory.failures[modality]
        have = set(entry.keys)
        if not self.settings.retry_failed:
            have |= inventory.failures[modality].keys()
        missing = plan(self.source.places, have)
        if modality == "text":
            missing.sort(key=lambda key: len(str(self.source.places[key])))  # like lengths need little padding
        try:
            with Progress(f"Encoding {modality}/{name}", len(missing), unit=modality) as progress:
                for batch in self._batches(missing):
                    if batch:
                        self._encode(batch)
                    progress.advance(self.n_encoded + self.n_failed + len(self.changed) - progress.n_done)
                    if self._is_due():
                        self._publish()
        finally:
            self._publish()  # on Ctrl-C too: what is encoded is kept
        return EncoderReport(
            name=f"{modality}/{name}",
            n_unique=len(self.source.places),
            n_cached=len(self.source.places) - len(missing),
            n_encoded=self.n_encoded,
            n_failed=self.n_failed,
            elapsed_s=time.monotonic() - started,
        )

    def _batches(self, keys: list[str]) -> Iterator[list[tuple[str, Any]]]:
        """Yield batches of prepared contents; those that cannot be prepared are noted and left out."""
        batch: list[tuple[str, Any]] = []
        n_failed_before = self.n_failed
        prepared = ordered_map(
            self._prepare, keys, n_workers=self.n_workers, n_ahead=2 * self.settings.batch_size + self.n_workers
        )
        for key, item in prepared:
            if not isinstance(item, ContentError):
                batch.append((key, item))
            elif str(item) == RETRIED:
                self.changed.add(key)
            else:
                self.n_failed += 1
                if self.known_failures.get(key) != str(item):
                    self.failures[key] = str(item)
            if len(batch) == self.settings.batch_size:
                yield batch
                batch = []
            elif self.n_failed - n_failed_before >= self.settings.batch_size:
                n_failed_before = self.n_failed
                yield []  # many failures in a row are due to be published too
        yield batch

    def _encode(self, batch: list[tuple[str, Any]]) -> None:
        vectors = self.encoder.encode([item for _, item in batch])
        n_dim = self.n_dim or vectors.shape[-1]
        if vectors.shape != (len(batch), n_dim) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise EncoderError(
                f"{self.encoder.spec.modality}/{self.encoder.name} must give {len(batch)} finite float32 vectors of "
                f"{n_dim} dimensions, however it gave {vectors.dtype} of shape {vectors.shape}"
                + (" with NaN or infinity" if not np.isfinite(vectors).all() else "")
                + ". Try --device cpu or other weights."
            )
        self.n_dim = n_dim
        self.encoded.append(([key for key, _ in batch], vectors))  # in one step, so that Ctrl-C cannot part them
        self.n_encoded += len(batch)

    def _prepare(self, key: str) -> tuple[str, Any]:
        try:
            return key, self.encoder.prepare(self.source.read(key))
        except ContentError as error:
            return key, error

    def _is_due(self) -> bool:
        n_bytes = sum(vectors.nbytes for _, vectors in self.encoded)
        return n_bytes >= self.settings.part_bytes or time.monotonic() - self.published_at >= self.settings.part_s

    def _publish(self) -> None:
        if self.encoded or self.failures:
            keys = [key for some_keys, _ in self.encoded for key in some_keys]
            no_vectors = np.zeros((0, 0), dtype=np.float32)
            vectors = np.concatenate([vectors for _, vectors in self.encoded]) if self.encoded else no_vectors
            self.journal.publish(Part(self.encoder.name, self.encoder.spec, keys, vectors, self.failures))
        self.encoded, self.failures = [], {}
        self.published_at = time.monotonic()


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # in a container the machine may have many more
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count_products_gone(cache_path: Path, catalogue: Catalogue) -> int:
    if not cache_path.exists():
        return 0
    with Cache(cache_path) as cache:
        return len(set(cache.ids()).difference(catalogue.ids))


def _list_failures(
    cache_path: Path, catalogue: Catalogue, modalities: list[str]
) -> tuple[Path | None, dict[str, dict[str, int]]]:
    """Write ``<cache>.failures.csv``, one line a product and modality; remove an old one where all is well."""
    path = cache_path.with_name(cache_path.name + ".failures.csv")
    lines = []
    counts = {}
    with Cache(cache_path) as cache:
        for modality in modalities:
            statuses = cache.statuses(modality)
            counts[modality] = dict(Counter(statuses))
            cells = catalogue.cells(modality)
            lines += [
                (product_id, modality, status, MEANINGS.get(status, ""), cell[:200])
                for product_id, status, cell in zip(catalogue.ids, statuses, cells, strict=True)
                if status not in NOT_BAD
            ]
    if not lines:
        path.unlink(missing_ok=True)
        return None, counts
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "modality", "status", "meaning", "cell"])
        writer.writerows(lines)
    return path, counts


def _check_bad(report: ExtractReport, settings: ExtractSettings) -> None:
    for modality, counts in report.statuses.items():
        n_bad = sum(count for status, count in counts.items() if status not in NOT_BAD)
        if n_bad > settings.bad_limit(report.n_products):
            raise TooManyBadError(
                f"--max-bad {settings.max_bad} must hold, however {n_bad} of {report.n_products} products have a bad "
                f"{modality}; {report.failures_path} lists them. All others are in {report.cache_path}."
            )
