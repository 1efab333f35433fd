"""Extraction, the only loop: plan, read, prepare, encode, publish, seal."""

from __future__ import annotations

import csv
import logging
import stat
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache import Cache, CacheError, Inventory, Journal, Products, VectorsByKey, seal
from cache.cloud.addresses import StoragePath
from cache.cloud.local_copies import local_copy
from cache.cloud.mirrored_journal import open_journal
from cache.column_names import PICTURE_KEYS
from cache.reading import facts_of
from cache.samples import read_samples
from cache.stray_bytes import open_csv
from embed.catalogue.catalogue import Catalogue, read_catalogue
from embed.contents.hash_cache import Hints
from embed.contents.statuses import MEANINGS, NOT_BAD
from embed.encoders.factory import make_encoders, replicas
from embed.encoders.precision import keep_precision
from embed.encoders.protocol import Encoder
from embed.errors import TooManyBadError
from embed.extraction.content_source import Source, find_source
from embed.extraction.disk_space import free_bytes, needed_bytes
from embed.extraction.encoder_run import EncoderReport, EncoderRun
from embed.extraction.estimate import Estimate, estimate_encoder
from embed.extraction.picture_means import BrokenPicture, add_means
from embed.settings import ExtractSettings

__all__ = ["ExtractReport", "estimate", "extract"]

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
    `encoders` replaces those that the settings name; each encodes the modality of its spec, and those of one name and
    spec share the work.

    Raises:
        CatalogueError: the catalogue cannot be read.
        WeightsError, DeviceError, SettingError: an encoder cannot be had.
        CacheError: the cache is locked, damaged or of another kind, or the disk is full; what is done is kept.
        UnreadableError: the system could not read a file, or lacks memory or open files; likewise.
        TooManyBadError: the cache is written, and more contents than `settings.max_bad` could not be read.
    """
    settings = settings or ExtractSettings()
    started = time.monotonic()
    with _work(catalogue_path, cache_path, settings, encoders) as work:
        for path in settings.reuse:
            _take_known(path, work)
        reports = [run.encode_missing(work.inventory) for run in work.runs]
        changed = {key for run in work.runs for key in run.changed}
        products, broken = _products(work, changed)
        n_gone = _count_products_gone(work.cache_path, work.catalogue)
        was_written = seal(work.cache_path, work.journal, products, inventory=work.inventory)
        if n_gone:
            is_part = any(chosen is not None for chosen in (settings.where, settings.per_class, settings.sample))
            log.info(
                "%d products of the cache are not %s: they left it, and their vectors stay%s.",
                n_gone,
                f"taken of {work.catalogue.path}" if is_part else f"in {work.catalogue.path}",
                " (all come back without --where, --per-class and --sample)" if is_part else "",
            )
        failures_path, statuses = _list_failures(work.cache_path, work.catalogue, list(work.sources), broken=broken)
    report = ExtractReport(
        cache_path=work.named_path,
        n_products=len(work.catalogue.ids),
        columns=work.catalogue.filled,
        encoders=reports,
        contents={modality: str(source.spec) for modality, source in work.sources.items()},
        statuses=statuses,
        failures_path=failures_path,
        was_written=was_written,
        elapsed_s=time.monotonic() - started,
    )
    _check_bad(report, settings)
    return report


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
        n_bytes = sum(one.vector_bytes + one.token_bytes for one in estimates)
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
    """What there is to do: the catalogue's contents, which are cached already, and who encodes the rest."""

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
) -> Iterator[_Work]:
    """Yield what there is to do, while the cache is locked."""
    cache_path = StoragePath(cache_path)
    facts = facts_of(cache_path, follow_symlinks=False)
    if facts is not None and stat.S_ISLNK(facts.st_mode):
        cache_path = cache_path.resolve()  # the rename must replace the file, not the link
    named_path = cache_path
    catalogue = read_catalogue(catalogue_path, settings)
    with open_journal(cache_path) as journal, warnings.catch_warnings():
        cache_path = journal.cache_path
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of malformed EXIF and large pictures: statuses say so
        made = make_encoders(settings) if encoders is None else encoders
        inventory = Inventory(cache_path, journal)
        if encoders is None and settings.precision == "auto":
            keep_precision(made, {where: entry.spec for where, entry in inventory.entries.items()})
        teams = replicas(made)
        for encoder, *_ in teams:
            inventory.entry(encoder.spec.modality, encoder.name, encoder.spec)  # a conflict is found before any work
        # What was encoded in another run belongs to these products too.
        modalities = {encoder.spec.modality for encoder, *_ in teams} | (inventory.keys.keys() & catalogue.roles.keys())
        hints_path = cache_path.with_name(cache_path.name + ".hints")
        with Hints(hints_path, folder=journal.folder, is_ignored=settings.rehash) as hints:
            sources = {
                modality: find_source(modality, catalogue, settings, hints=hints) for modality in sorted(modalities)
            }
        runs = [EncoderRun(team, sources[team[0].spec.modality], cache_path, journal, settings) for team in teams]
        yield _Work(named_path, cache_path, catalogue, journal, inventory, sources, runs)


def _products(work: _Work, changed: set[str]) -> tuple[Products, list[BrokenPicture]]:
    """Return the products for the cache, and the pictures that are left out of means."""
    columns: Mapping[str, list[str]] = work.catalogue.columns
    kept = _kept_samples(work.cache_path)
    contents = {
        modality: source.contents(changed, kept=kept.get(modality, {})) for modality, source in work.sources.items()
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


def _take_known(path: Path, work: _Work) -> None:
    """Take from another cache the vectors that it has of what is missing; of encoders that give tokens too, none.

    Raises:
        CacheError: there is no such cache.
    """
    try:
        path = local_copy(path)
    except FileNotFoundError:
        path = Path(path)
    if facts_of(path) is None:
        raise CacheError(f"--reuse: expected a cache at {path}, got nothing there. Correct the path, or leave it out.")
    for run in work.runs:
        known = VectorsByKey.of_spec(path, run.encoder.spec)
        if known is None or "tokens" in run.encoder.spec.fields:
            what = "tokens are encoded anew" if known is not None else "it has none made in this way"
            log.info("%s: no vectors are taken from %s: %s.", run.name, path, what)
        elif n_taken := run.take_known(work.inventory, known):
            log.info("%s: %d vectors are taken from %s.", run.name, n_taken, path)


def _count_products_gone(cache_path: Path, catalogue: Catalogue) -> int:
    if facts_of(cache_path) is None:
        return 0
    with Cache(cache_path) as cache:
        return len(set(cache.ids()).difference(catalogue.ids))


def _list_failures(
    cache_path: Path, catalogue: Catalogue, modalities: list[str], *, broken: list[BrokenPicture]
) -> tuple[Path | None, dict[str, dict[str, int]]]:
    """Write ``<cache>.failures.csv``, one line a product and modality, and a picture that is broken beside sound ones.

    An old one is removed where all is well.
    """
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
    lines += [
        (catalogue.ids[one.row], "image", one.status, MEANINGS.get(one.status, ""), one.cell[:200]) for one in broken
    ]
    if not lines:
        path.unlink(missing_ok=True)
        return None, counts
    with open_csv(path) as file:
        writer = csv.writer(file)
        writer.writerow(["id", "modality", "status", "meaning", "cell"])
        writer.writerows(lines)
    return path, counts


def _check_bad(report: ExtractReport, settings: ExtractSettings) -> None:
    for modality, counts in report.statuses.items():
        n_bad = sum(count for status, count in counts.items() if status not in NOT_BAD)
        if n_bad > settings.bad_limit(report.n_products):
            raise TooManyBadError(
                f"Expected --max-bad {settings.max_bad} to hold, but {n_bad} of {report.n_products} products have a "
                f"bad {modality}; {report.failures_path} lists them. All others are in {report.cache_path}."
            )
