"""Extraction, the only loop: plan, read, prepare, encode, publish, seal."""

from __future__ import annotations

import logging
import os
import stat
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache import Cache, Inventory, Journal, Products, seal
from cache.arrays.large_arrays import memory_limit
from cache.cloud.addresses import StoragePath
from cache.columns.column_names import PICTURE_KEYS
from cache.journal.mirrored_journal import open_journal
from cache.sealed.samples import read_samples
from cache.system.memory_budget import memory_bytes
from cache.system.reading import facts_of
from cache.workers.engines import find_engine
from embed.catalogue.catalogue import Catalogue, read_catalogue
from embed.contents.statuses import NOT_BAD
from embed.encoders.protocol import Encoder
from embed.errors import SettingError, TooManyBadError
from embed.extraction.disk_space import folder_beside, free_bytes, needed_bytes
from embed.extraction.encoder_choice import choose_of_several
from embed.extraction.encoding.encoder_run import EncoderReport, EncoderRun
from embed.extraction.encoding.run_encoders import RunEncoders
from embed.extraction.encoding.shared_decoding import encode_all
from embed.extraction.engines.registry import ENGINES
from embed.extraction.estimate import Estimate, estimate_encoder
from embed.extraction.reuse import reuse_vectors
from embed.extraction.shard import Shard, find_shard
from embed.extraction.source.content_source import Source, find_source
from embed.extraction.source.failure_list import list_failures
from embed.extraction.source.picture_means import BrokenPicture, add_means
from embed.extraction.source.products_gone import find_gone
from embed.extraction.work_of_shards import check_shards, open_hints
from embed.settings import ExtractSettings

__all__ = ["ExtractReport", "ShardReport", "estimate", "extract", "extract_shard"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class ExtractReport:
    """What an extraction did, and each modality's count of products by status."""

    cache_path: Path
    n_products: int
    columns: dict[str, dict[str, float]]  # taken for id, image, text and label: column -> how full it is, 0 to 1
    encoders: list[EncoderReport]
    contents: dict[str, str]  # modality -> of which columns its contents are made, and how
    statuses: dict[str, dict[str, int]]
    failures_path: Path | None  # the list of contents that could not be read, where there are any
    chosen: dict[str, str]  # modality -> an encoder to train with, where the cache has several; the latest
    was_written: bool  # whether the cache changed
    elapsed_s: float


@dataclass(frozen=True)
class ShardReport:
    """What one of several workers did of its share."""

    cache_path: Path
    shard: str  # its number, from 0, and how many there are: 3/16
    encoders: list[EncoderReport]  # of the contents of its share
    statuses: dict[str, dict[str, int]]  # of these, by modality: how many are "ok", "missing", ... where they are named
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
    `encoders` replaces those that the settings name; each encodes the modality of its spec, and those of one name and
    spec share the work. What shards have encoded (`extract_shard`) is sealed with the rest.

    Raises:
        CatalogueError: the catalogue cannot be read.
        WeightsError, DeviceError, SettingError: an encoder cannot be had.
        CacheLockedError: another process writes the cache, or a shard is still at work.
        CacheError: the cache is damaged or of another kind, or the disk is full; what is done is kept.
        UnreadableError: the system could not read a file, or lacks memory or open files; likewise.
        TooManyBadError: the cache is written, and more contents than `settings.max_bad` could not be read.
    """
    settings = settings or ExtractSettings()
    started = time.monotonic()
    encode = find_engine(ENGINES, settings.engine)
    if encoders is not None and settings.engine != "local":
        raise SettingError(f"Expected settings that name encoders with --engine {settings.engine}, got encoders.")
    with _work(catalogue_path, cache_path, settings, encoders) as work:
        for path in settings.reuse:
            reuse_vectors(path, work.runs, work.inventory)
        reports = encode(work.runs, work.inventory, settings)
        changed = {key for run in work.runs for key in run.changed}
        products, broken = _products(work, changed)
        gone = find_gone(work.cache_path, work.catalogue.ids, products.columns)
        was_written = seal(work.cache_path, work.journal, products, inventory=work.inventory)
        is_part = any(option is not None for option in (settings.where, settings.per_class, settings.sample))
        gone.tell(work.catalogue.path, is_part=is_part, has_labels=settings.labels is not None)
        failures_path, statuses = list_failures(work.cache_path, work.catalogue, list(work.sources), broken=broken)
    report = ExtractReport(
        cache_path=work.named_path,
        n_products=len(work.catalogue.ids),
        columns=work.catalogue.filled,
        encoders=reports,
        contents={modality: str(source.spec) for modality, source in work.sources.items()},
        statuses=statuses,
        failures_path=failures_path,
        chosen=choose_of_several(work.inventory.specs, work.sources, [run.name for run in work.runs]),
        was_written=was_written,
        elapsed_s=time.monotonic() - started,
    )
    _check_bad(report, settings)
    return report


def extract_shard(
    catalogue_path: str | Path = "data.csv",
    cache_path: str | Path = "embeddings.h5",
    *,
    shard: str,
    settings: ExtractSettings | None = None,
    encoders: Sequence[Encoder] | None = None,
) -> ShardReport:
    """Encode what of one share of the catalogue nobody has encoded yet, for `extract` to seal.

    Any number of processes may do so at once, on all machines that share the cache's folder. A picture is read by the
    shard whose share it is alone.

    `shard` is its number, from 0, and how many there are, ``"3/16"``; or ``"auto"``: as whoever started this process
    says. All else is as for `extract`, and the same for all shards.

    Raises:
        SettingError: there is no such shard, or nobody says which this is.
        CatalogueError, WeightsError, DeviceError, CacheError, UnreadableError: as `extract` does.
        CacheLockedError: the same shard is at work elsewhere.
    """
    settings = settings or ExtractSettings()
    started = time.monotonic()
    share = find_shard(shard, os.environ)
    if settings.engine != "local":
        raise SettingError(f"Expected --shard or --engine {settings.engine}, got both. Leave one out.")
    with _work(catalogue_path, cache_path, settings, encoders, shard=share) as work:
        for path in settings.reuse:
            reuse_vectors(path, work.runs, work.inventory)
        return ShardReport(
            cache_path=work.named_path,
            shard=str(share),
            encoders=encode_all(work.runs, work.inventory),
            statuses={modality: dict(Counter(source.statuses)) for modality, source in work.sources.items()},
            elapsed_s=time.monotonic() - started,
        )


def estimate(
    catalogue_path: str | Path = "data.csv",
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: ExtractSettings | None = None,
    encoders: Sequence[Encoder] | None = None,
) -> Estimate:
    """Return what `extract` would cost in bytes and seconds, from a sample of some seconds; no vector is written.

    All pictures are hashed for it, and the hints of that are kept.

    Raises:
        CatalogueError, WeightsError, DeviceError, SettingError, CacheError: as `extract` does.
    """
    settings = settings or ExtractSettings()
    with _work(catalogue_path, cache_path, settings, encoders) as work:
        estimates = [estimate_encoder(run, work.inventory) for run in work.runs]
        n_bytes = sum(encoder.vector_bytes + encoder.token_bytes for encoder in estimates)
        return Estimate(
            cache_path=work.named_path,
            n_products=len(work.catalogue.ids),
            encoders=estimates,
            n_bytes=n_bytes,
            needed_bytes=needed_bytes(work.cache_path, n_bytes=n_bytes),
            free_bytes=free_bytes(work.cache_path),
        )


@dataclass(frozen=True)
class _Work:
    """What there is to do: the catalogue's contents, those that are cached already, and who encodes the others."""

    named_path: Path  # the cache as it was asked for, which may be in a bucket
    cache_path: Path  # the file that is written
    catalogue: Catalogue
    journal: Journal
    inventory: Inventory
    sources: dict[str, Source]
    runs: list[EncoderRun]


@contextmanager
def _work(
    catalogue_path: str | Path,
    cache_path: str | Path,
    settings: ExtractSettings,
    encoders: Sequence[Encoder] | None,
    shard: Shard | None = None,
) -> Iterator[_Work]:
    """Yield what there is to do, while the cache is locked; or what a shard has to do, while no other process is it.

    What is as long as the catalogue takes no more memory than the settings say.
    """
    with ExitStack() as stack:
        stack.enter_context(memory_limit(memory_bytes(settings.memory), folder_beside(cache_path)))
        named_path = StoragePath(cache_path)
        facts = facts_of(named_path, follow_symlinks=False)
        if facts is not None and stat.S_ISLNK(facts.st_mode):
            named_path = named_path.resolve()  # the rename must replace the file, not the link
        catalogue = read_catalogue(catalogue_path, settings)
        journal = stack.enter_context(open_journal(named_path, shard=shard.name if shard else None))
        check_shards(journal)
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of malformed EXIF and large pictures: statuses say so
        inventory = Inventory(journal.cache_path, journal)
        run_encoders = RunEncoders(inventory, settings, encoders)
        teams = run_encoders.teams
        # What was encoded in another run belongs to these products too.
        modalities = {encoder.spec.modality for encoder, *_ in teams} | (inventory.keys.keys() & catalogue.roles.keys())
        with open_hints(journal.cache_path, journal, is_ignored=settings.rehash) as hints:
            sources = {
                modality: find_source(modality, catalogue, settings, hints=hints, shard=shard)
                for modality in sorted(modalities)
            }
        runs = [
            EncoderRun(team, sources[team[0].spec.modality], journal.cache_path, journal, settings) for team in teams
        ]
        run_encoders.make_for(runs)
        yield _Work(named_path, journal.cache_path, catalogue, journal, inventory, sources, runs)


def _products(work: _Work, changed: set[str]) -> tuple[Products, list[BrokenPicture]]:
    """Return the products for the cache, and the pictures that are left out of means."""
    columns: Mapping[str, Sequence[str]] = work.catalogue.columns
    samples = _kept_samples(work.cache_path)
    contents = {
        modality: source.contents(changed, kept=samples.get(modality, {})) for modality, source in work.sources.items()
    }
    broken: list[BrokenPicture] = []
    pictures = work.sources["image"].pictures if "image" in work.sources else {}
    if pictures:
        work.inventory.update()
        means = add_means(contents["image"], pictures, work.inventory, left_out=changed)
        contents["image"], broken = means.contents, means.broken
        columns = {**columns, PICTURE_KEYS: means.keys}
    return Products(ids=work.catalogue.ids, columns=columns, contents=contents), broken


def _kept_samples(cache_path: Path) -> dict[str, dict[str, bytes]]:
    """Return the contents that the cache keeps as they are, by modality and key."""
    if facts_of(cache_path) is None:
        return {}
    with Cache(cache_path) as cache:
        return {modality: read_samples(cache, modality) for modality in cache.modalities}


def _check_bad(report: ExtractReport, settings: ExtractSettings) -> None:
    """Check that no more contents are bad than the settings allow.

    Raises:
        TooManyBadError: they are.
    """
    for modality, counts in report.statuses.items():
        n_bad = sum(count for status, count in counts.items() if status not in NOT_BAD)
        if n_bad > settings.bad_limit(report.n_products):
            raise TooManyBadError(
                f"Expected --max-bad {settings.max_bad} to hold, but {n_bad} of {report.n_products} products have a "
                f"bad {modality}; {report.failures_path} lists them. All others are in {report.cache_path}."
            )
